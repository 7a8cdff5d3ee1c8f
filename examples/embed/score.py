"""The same from Python, through the C face. Usage: score.py LIBSHRIKE.so CONFIG.toml DATA-DIR"""
import ctypes
import json
import sys


class Text(ctypes.Structure):
    _fields_ = [("data", ctypes.POINTER(ctypes.c_char)), ("size", ctypes.c_size_t)]

    def __str__(self):
        return ctypes.string_at(self.data, self.size).decode()


class Answer(ctypes.Structure):
    _fields_ = [("decision", ctypes.c_int32), ("step", ctypes.c_int32), ("score", ctypes.c_double),
                ("risk", ctypes.c_double), ("seq", ctypes.c_uint64), ("duplicate", ctypes.c_int32),
                ("reserved_1", ctypes.c_int32), ("reserved", ctypes.c_uint64 * 4)]


def load(path):
    library = ctypes.CDLL(path)
    assert library.shrike_abi() == 1
    library.shrike_open.restype = ctypes.c_void_p
    library.shrike_open.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.POINTER(Text)]
    library.shrike_close.argtypes = [ctypes.c_void_p]
    library.shrike_score.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t, ctypes.POINTER(Answer),
                                     ctypes.POINTER(Text)]
    library.shrike_feedback.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t, ctypes.POINTER(Text)]
    return library


def main():
    library = load(sys.argv[1])
    text, answer = Text(), Answer()
    engine = library.shrike_open(sys.argv[2].encode(), sys.argv[3].encode(), text)
    if not engine:
        sys.exit(str(text))
    transaction = {"transaction_id": 3, "time": 36120, "customer_id": 7, "terminal_id": 3, "amount": 99.0}
    request = json.dumps(transaction).encode()
    status = library.shrike_score(engine, request, len(request), answer, text)
    print(text)
    print(f"probability {answer.score:.4f}, event {answer.seq}")
    library.shrike_close(engine)
    sys.exit(status)


if __name__ == "__main__":
    main()

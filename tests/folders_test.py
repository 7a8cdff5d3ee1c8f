#!/usr/bin/env python3
"""Fails when a folder or a room of one includes another that it must not know.

The arrows between folders are those of the design: tools -> engine -> {learners, features, storage}; bench and
tests see everything; learners, features and storage know none of our other folders, no socket and no thread
(storage may know files through RocksDB). Inside engine/ the rooms stand on four floors, and inside learners/ a
family knows another only through the root.
"""
import pathlib
import re
import sys

MAY_KNOW = {
    "features": {"features"},
    "learners": {"learners"},
    "storage": {"storage"},
    "engine": {"engine", "features", "learners", "storage"},
    "embed": {"embed", "engine", "features"},
    "tools": {"tools", "engine", "features", "learners", "storage"},
}
# What a room may know besides itself, its folder's root and what its folder may know.
ROOMS = {
    "engine/config": set(),
    "engine/fold": {"engine/config"},
    # Judgements over the fold.
    "engine/lifecycle": {"engine/config", "engine/fold", "learners/numeric"},
    "engine/log": {"engine/config", "engine/fold"},
    "engine/wire": {"engine/config", "engine/fold"},
    "engine/threads": {"engine/config", "engine/fold"},
    "engine/replay": {"engine/config", "engine/fold", "engine/lifecycle", "engine/log", "engine/threads"},
    # Reads a log without serving or replaying it; PSI and samples of rows are those of reports.
    "engine/diagnosis": {"engine/config", "engine/fold", "engine/lifecycle", "engine/log", "engine/replay"},
    # Who may talk to a server: keys, clients, and what each may ask.
    "engine/security": {"engine/config", "engine/fold", "engine/threads", "engine/wire"},
    "engine/serve": {"engine/config", "engine/fold", "engine/lifecycle", "engine/log", "engine/security",
                     "engine/threads", "engine/wire"},
    "learners/numeric": set(),
    "learners/calibration": {"learners/numeric"},
    "learners/rows": {"learners/numeric"},
    # Records of what the rooms below hold; families stand on it.
    "learners/saved": {"learners/numeric", "learners/calibration", "learners/rows"},
    "learners/linear": {"learners/numeric", "learners/rows", "learners/saved", "learners/calibration"},
    "learners/trees": {"learners/numeric", "learners/rows", "learners/saved", "learners/calibration"},
    "learners/ensemble": {"learners/numeric", "learners/rows", "learners/saved", "learners/calibration"},
    # Half-space trees are grown and scored as trees are.
    "learners/anomaly": {"learners/numeric", "learners/rows", "learners/saved", "learners/calibration", "learners/trees"},
    # Other programs' forms of linear models and trees.
    "learners/formats": {"learners/numeric", "learners/saved", "learners/linear", "learners/trees"},
}
OUTSIDE = (r"thread|mutex|shared_mutex|condition_variable|future|chrono|fstream|filesystem|zmq\.hpp|zmq\.h"
           r"|sys/.*|unistd\.h|fcntl\.h|rocksdb/.*")
SOCKETS = r"zmq\.hpp|zmq\.h|sys/socket\.h"
MUST_NOT_INCLUDE = {  # by folder or room: system headers
    "features": OUTSIDE,
    "learners": OUTSIDE,
    "engine/fold": OUTSIDE,
    "engine/lifecycle": OUTSIDE,
    "engine/log": SOCKETS + r"|thread|mutex|chrono",
    "engine/replay": SOCKETS,
    "engine/diagnosis": SOCKETS + r"|thread|mutex|chrono",
    "engine/config": SOCKETS + r"|thread|mutex|chrono",
}


def room_of(path: str) -> str:
    """engine/fold for engine/fold/event.h, learners for learners/model.h."""
    return "/".join(path.split("/")[:-1][:2])


def problems_of(name: str, line: str) -> list[str]:
    match = re.match(r'\s*#\s*include\s*([<"])([^>"]+)[>"]', line)
    if not match:
        return []
    target = match.group(2)
    room, folder = room_of(name), name.split("/")[0]
    found = []
    top = target.split("/")[0]
    if top in MAY_KNOW and "/" in target and top not in MAY_KNOW[folder]:
        found.append(f"{folder}/ must not know {top}/")
    other = room_of(target)
    if room in ROOMS and other in ROOMS and other != room and other not in ROOMS[room]:
        found.append(f"{room}/ must not know {other}/")
    for where, pattern in MUST_NOT_INCLUDE.items():
        if where in (folder, room) and re.fullmatch(pattern, target):
            found.append(f"{where}/ must not use <{target}>")
    return found


def main(root: pathlib.Path) -> int:
    problems = []
    files_seen = 0
    for folder in MAY_KNOW:
        for path in sorted((root / folder).rglob("*")):
            if path.suffix not in {".h", ".cc"}:
                continue
            files_seen += 1
            name = path.relative_to(root).as_posix()
            room = room_of(name)
            if folder in ("engine", "learners") and room != folder and room not in ROOMS:
                problems.append(f"{name}: the room {room}/ is not in tests/folders_test.py")
            for number, line in enumerate(path.read_text().splitlines(), 1):
                problems += [f"{name}:{number}: {what}" for what in problems_of(name, line)]
    for problem in problems:
        print(problem)
    print(f"{files_seen} files read, {len(problems)} problems")
    return 1 if problems or files_seen == 0 else 0


if __name__ == "__main__":
    sys.exit(main(pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else ".").resolve()))

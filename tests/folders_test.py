#!/usr/bin/env python3
"""Fails when a folder includes another that it must not know, or a source file grows past its bound.

The arrows are those of the design: tools -> engine -> {learners, features, storage}; bench and tests
see everything; learners, features and storage know none of our other folders, no socket and no thread
(storage may know files through RocksDB).
"""
import pathlib
import re
import sys

MAY_KNOW = {
    "features": {"features"},
    "learners": {"learners"},
    "storage": {"storage"},
    "engine": {"engine", "features", "learners", "storage"},
    "tools": {"tools", "engine", "features", "learners", "storage"},
}
PURE_MUST_NOT_INCLUDE = re.compile(
    r"^(thread|mutex|shared_mutex|condition_variable|future|chrono|fstream|filesystem|zmq\.hpp|zmq\.h"
    r"|sys/.*|unistd\.h|fcntl\.h|rocksdb/.*)$")
LINES_MAX = 450


def main(root: pathlib.Path) -> int:
    problems = []
    files_seen = 0
    for folder, allowed in MAY_KNOW.items():
        for path in sorted((root / folder).rglob("*")):
            if path.suffix not in {".h", ".cc"}:
                continue
            files_seen += 1
            text = path.read_text()
            lines = text.count("\n")
            if lines > LINES_MAX:
                problems.append(f"{path.relative_to(root)}: {lines} lines, at most {LINES_MAX}")
            for number, line in enumerate(text.splitlines(), 1):
                match = re.match(r'\s*#\s*include\s*([<"])([^>"]+)[>"]', line)
                if not match:
                    continue
                target = match.group(2)
                top = target.split("/")[0]
                if top in MAY_KNOW and "/" in target and top not in allowed:
                    problems.append(f"{path.relative_to(root)}:{number}: {folder}/ must not know {top}/")
                if folder in {"features", "learners"} and PURE_MUST_NOT_INCLUDE.match(target):
                    problems.append(f"{path.relative_to(root)}:{number}: {folder}/ must not use <{target}>")
    for problem in problems:
        print(problem)
    print(f"{files_seen} files read, {len(problems)} problems")
    return 1 if problems or files_seen == 0 else 0


if __name__ == "__main__":
    sys.exit(main(pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else ".").resolve()))

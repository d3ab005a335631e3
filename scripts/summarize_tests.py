#!/usr/bin/env python3
"""Sums up the result files that scripts/run-tests left in a folder: names what was skipped and what failed, and ends
with one line `N passed, N failed, N skipped`, also left in the file closing-line. Exits 1 if anything failed, or if
a runner left no results.

A unit test program counts by its single tests (gtest's file). One that left no such file, because it is no gtest
program or because it crashed, counts as the one test that ctest ran."""
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path


def cases(path):
    """(name, outcome, message) of each test case in a JUnit file of gtest, ctest or pytest."""
    for case in ElementTree.parse(path).iter("testcase"):
        name = ".".join(filter(None, (case.get("classname"), case.get("name"))))
        skipped = case.find("skipped")
        if case.find("failure") is not None or case.find("error") is not None or case.get("status") == "fail":
            yield name, "failed", ""
        elif skipped is not None or case.get("result") in ("skipped", "suppressed"):
            message = (skipped.get("message") or "") if skipped is not None else "disabled"
            yield name, "skipped", " ".join(message.split())
        else:
            yield name, "passed", ""


def unit_cases(folder):
    """ctest's tests, each replaced by the cases of its gtest program where there are some."""
    for name, outcome, message in cases(folder / "ctest.xml"):
        test = name.split(".")[-1]
        gtest = folder / "gtest" / f"{test}_test.xml"
        if not gtest.exists():
            yield test, outcome, message
            continue
        inner = list(cases(gtest))
        yield from inner
        if outcome == "failed" and all(o != "failed" for _, o, _ in inner):
            yield f"{test} (the program itself)", "failed", ""


def main():
    folder = Path(sys.argv[1])
    found = []
    for read, file in ((unit_cases, "ctest.xml"), (lambda f: cases(f / "pytest.xml"), "pytest.xml")):
        try:
            found += list(read(folder))
        except (OSError, ElementTree.ParseError):
            found.append((f"{file} is missing: its runner did not finish", "failed", ""))
    for outcome in ("skipped", "failed"):
        for name, its, message in found:
            if its == outcome:
                print(f"{outcome}: {name}{': ' + message if message else ''}")
    count = {o: sum(1 for _, its, _ in found if its == o) for o in ("passed", "failed", "skipped")}
    line = f"{count['passed']} passed, {count['failed']} failed, {count['skipped']} skipped"
    (folder / "closing-line").write_text(line + "\n")
    print(line, flush=True)
    return 1 if count["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())

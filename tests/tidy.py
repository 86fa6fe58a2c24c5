#!/usr/bin/env python3
"""Checks the rules of ARCHITECTURE.md that a compiler does not: tests/tidy.py [ROOT]

Prints "file:line: rule: what is wrong" for each violation and exits with 1 when there is one. tests/tidy_test.py
plants a violation of every rule. A rule that is wrong about a line is made more precise here, never switched off there.
"""
import ast
import fnmatch
import os
import re
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from tidy_source import Source, functions, lambdas, matching, withoutLambdas  # noqa: E402

FILE_LINES_MAX = 600
FUNCTION_LINES_MAX = 60
LINE_COLUMNS_MAX = 120

FOLDERS = ["common", "rpc", "master", "chunkserver", "fuse-client", "tools", "tests", "docker", ".ci"]
TEXT = (".cc", ".h", ".py", ".sh", ".capnp", ".cmake", ".md", ".toml", ".yaml", ".txt")

# ---- which way dependence points: the boxes of ARCHITECTURE.md, longest prefix first -----------
# box -> (prefixes of "..." includes that it may use, prefixes of <...> includes that it may not)
BOXES = [
    ("common", ["common/"], ["capnp/", "fuse"]),
    ("rpc", ["common/", "rpc/", "schema/"], ["fuse", "leveldb/"]),
    ("master/namespace", ["common/", "schema/", "rpc/shard_map.h", "master/"], ["fuse", "capnp/rpc", "capnp/cap"]),
    ("master", ["common/", "rpc/", "schema/", "master/"], ["fuse"]),
    ("chunkserver", ["common/", "rpc/", "schema/", "chunkserver/"], ["fuse"]),
    ("fuse-client/client", ["common/", "rpc/", "schema/", "fuse-client/client/"], ["fuse", "leveldb/"]),
    ("fuse-client", ["common/", "rpc/", "schema/", "fuse-client/"], ["leveldb/"]),
    ("tools", ["common/", "rpc/", "schema/", "master/", "chunkserver/", "fuse-client/", "tools/"], []),
    ("tests", [""], []),
]

# Never include one another, yet meet in one program.
SIBLINGS = ["master", "chunkserver", "fuse-client"]

# ---- the six seams --------------------------------------------------------------------------
SEAM_FILES = ["common/system/*", "rpc/system_network*", "*/main.cc", "tests/*"] + [  # and the kernel side of FUSE:
    f"fuse-client/fuse/{name}.cc"
    for name in ("daemon", "fuse_session", "holder", "kept_memory", "mountpoint", "processes")]
# (what, pattern). `call:` names are looked for only where they are called, not where they are declared, and not in
# folders that have a function of their own with that name.
SEAM_PATTERNS = [
    ("reads a clock: use Clock", r"\b(?:steady|system|high_resolution|utc)_clock\b|\bkj::system\w*Clock\w*"),
    ("reads a clock: use Clock", r"(?<![\w.>])(?:std::|::)?time\s*\(\s*(?:nullptr|NULL|0|&\w+)\s*\)"),
    ("reads a clock: use Clock", "call:clock_gettime gettimeofday timespec_get"),
    ("opens a socket: use Network", r"\bsockaddr\w*|\bAF_(?:UNIX|INET6?|NETLINK)\b|\bSOCK_(?:STREAM|DGRAM)\b"),
    ("opens a socket: use Network", r"(?<![\w>])::(?:socket|connect|bind|accept4?|listen|socketpair)\s*\("),
    ("opens a socket: use Network", r"#\s*include\s*<(?:sys/socket|sys/un|netinet/\w+|arpa/inet|netdb)\.h>"),
    ("runs its own event loop: main.cc makes it", r"\bkj::(?:setupAsyncIo|newDiskFilesystem)\b"),
    ("opens a file: use Disk", r"\bstd::(?:basic_)?[io]?fstream\b|\bstd::filesystem\b"),
    ("opens a file: use Disk", r"#\s*include\s*<(?:fstream|filesystem)>"),
    ("opens a file: use Disk", r"(?<![\w.>:])(?:::)?open\s*\([^;{}]*\bO_(?:RDONLY|WRONLY|RDWR|CREAT|PATH)\b"),
    ("touches files: use Disk",
     r"(?<![\w>])::(?:open(?:at2?)?|unlink(?:at)?|rename(?:at2?)?|mkdir(?:at)?|rmdir|creat|f?truncate|[lf]?stat"
     r"|pread|pwrite|read|write|fsync|fdatasync|syncfs|fallocate|flock|statv?fs|opendir|readdir|mkstemp)\s*\("),
    ("touches files: use Disk",
     "call:fopen freopen openat pread pwrite preadv2 pwritev2 fdatasync fsync ftruncate opendir mkstemp statvfs flock"),
    ("starts a thread or locks: use Workers",
     r"\bstd::(?:j?thread|(?:shared_|recursive_|timed_)*mutex|condition_variable(?:_any)?|async|future|promise"
     r"|lock_guard|unique_lock|scoped_lock|call_once|counting_semaphore|barrier|latch)\b"
     r"|\bkj::(?:Thread|MutexGuarded)\b"
     r"|\bpthread_\w+\s*\(|#\s*include\s*<(?:thread|mutex|shared_mutex|condition_variable|future|pthread\.h)>"),
    ("starts a process: nothing here does", "call:fork vfork execv execvp execve posix_spawn popen system"),
    ("draws a random number: use Random", r"\bstd::(?:random_device|mt19937\w*|default_random_engine|minstd_rand0?)\b"),
    ("draws a random number: use Random", "call:rand srand drand48 getrandom getentropy arc4random"),
    ("sleeps: use Clock::after", r"\bsleep_(?:for|until)\s*\("),
    ("sleeps: use Clock::after", "call:sleep usleep nanosleep clock_nanosleep"),
    ("takes LevelDB's own files: use the leveldb::Env that was handed in", r"\bEnv::Default\s*\("),
]
TYPE_HEAD = re.compile(r"\b(?:class|struct|union|enum(?:\s+class)?)\s+(\w+)(?:\s+final)?(?:\s*:[^;{}()]*)?\s*\{")
DECLARES = re.compile(r"(?:[\w>*]|(?<!&)&)$")
NOT_TYPES = re.compile(r"\b(?:return|co_return|co_await|co_yield|else|do|throw|case|and|or|not)$")

MACHINE = re.compile(r"(?<![\w.])/(?:home|root|work|Users)/|\b[\w-]+\.(?:internal|localdomain|lan)\b")
IP = re.compile(r"(?<![\d.])(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})(?![\d.])")
TODO = re.compile(r"\b(?:TODO|FIXME|XXX|HACK)\b")
CODE_COMMENT = re.compile(
    r"^//+ ?(?! )(?:#\s*include\b.*|(?:return|co_return|co_await|break|continue)\b[^.]*;"
    r"|\}?\s*else\s*(?:if\s*\(.*\)\s*)?\{|\}"
    r"|(?:if|for|while|switch)\s*\(.*\)\s*(?:\{|.*;)|[\w:<>,&*\s]+\s[\w.\[\]>-]+\s*=\s*[^=].*;|[\w.:>-]+\s*=\s*[^=].*;"
    r"|[\w.:>-]+\(.*\)(?:\.\w+\(.*\))*;|(?:const\s+)?[\w:]+(?:<.*>)?[&*]?\s+\w+(?:\{.*\}|\(.*\))?;)\s*$")


AWAIT_BEFORE = re.compile(
    r"(?:co_return|(?:[\w:<>,*&\s]*[\w>*&]\s+|auto\s*&{0,2}\s*)(?:\w+|\[[^\]]*\])\s*=|\w+(?:(?:\.|->)\w+)*\s*=)?")
AWAIT_FORMS = "use one of: co_await f(..); auto x = co_await f(..); co_return co_await f(..);"
EMPTY_CATCH = re.compile(
    r"\bcatch\s*\([^()]*\)\s*\{\s*\}"
    r"|\b(?:catch_|eagerlyEvaluate)\s*\(\s*\[[^\]]*\]\s*\([^()]*\)\s*\{\s*\}\s*\)")
STATEMENT_HEAD = re.compile(
    r"(?:(?:if|while|for|switch)\s*(?:constexpr\s*)?\(|KJ_IF_MAYBE\s*\(|else\b|do\b|case\b[^:]*:|default\s*:"
    r"|#[^\n]*\n)")


class Tidy:
    def __init__(self, root):
        self.root = root
        self.violations = []
        self.files = sorted(self.find())
        self.texts = {}
        for path in self.files:
            with open(os.path.join(root, path), encoding="utf-8", errors="replace") as f:
                self.texts[path] = f.read()
        self.sources = {p: Source(t) for p, t in self.texts.items() if p.endswith((".cc", ".h"))}
        self.declared = {}

    def find(self):
        for name in os.listdir(self.root):
            if os.path.isfile(os.path.join(self.root, name)) and (name.endswith(TEXT)):
                yield name
        for folder in FOLDERS:
            for at, folders, names in os.walk(os.path.join(self.root, folder)):
                folders[:] = [f for f in folders if f not in ("__pycache__", "build")]
                for name in names:
                    if not name.endswith(".pyc"):
                        yield os.path.relpath(os.path.join(at, name), self.root)

    def report(self, path, line, rule, what):
        self.violations.append((path, line, rule, what))

    def run(self):
        for path, source in self.sources.items():
            self.checkIncludes(path, source)
            if not any(fnmatch.fnmatch(path, p) for p in SEAM_FILES):
                self.checkSeams(path, source)
                self.checkStatics(path, source)
            self.checkAwaits(path, source)
            self.checkLambdas(path, source)
            self.checkFunctions(path, source)
            self.checkCatches(path, source)
            self.checkComments(path, source)
            if path.endswith(".h"):
                self.checkHeader(path, source)
        for path, text in self.texts.items():
            self.checkLines(path, text)
            if isPython(path, text):
                self.checkPython(path, text)
            if isShell(path, text):
                self.checkShell(path, text)
        self.checkMentioned()
        self.checkTypeNames()
        return sorted(set(self.violations))

    # ---- C++ ---------------------------------------------------------------------------------

    def checkIncludes(self, path, source):
        box, allowed, forbidden = next(((b, a, f) for b, a, f in BOXES if path.startswith(b + "/")), (None, [""], []))
        for number, line in enumerate(source.lines, 1):
            found = re.match(r'\s*#\s*include\s*(?:"([^"]+)"|<([^>]+)>)', line)
            if not found:
                continue
            quoted, angled = found.groups()
            if quoted and not quoted.startswith("schema/") and quoted not in self.texts:
                self.report(path, number, "include", f'"{quoted}" is no file of this tree; write it from the root')
            elif quoted and not any(quoted.startswith(a) for a in allowed):
                self.report(path, number, "include", f'{box} must not depend on "{quoted}" (see the diagram)')
            elif angled and any(angled.startswith(f) for f in forbidden):
                self.report(path, number, "include", f"{box} must not depend on <{angled}>")

    def checkSeams(self, path, source):
        seen = {}
        for what, pattern in SEAM_PATTERNS:
            if pattern.startswith("call:"):
                names = [n for n in pattern[5:].split() if n not in self.ownFunctions(os.path.dirname(path))]
                hits = calls(source.code, names)
            else:
                hits = (m.start() for m in re.finditer(pattern, source.code))
            for offset in hits:
                seen.setdefault(source.line(offset), what)
        for line, what in seen.items():
            self.report(path, line, "seam", what)

    def ownFunctions(self, folder):
        """Names that this folder's files declare as functions."""
        if folder not in self.declared:
            names = set()
            for path, source in self.sources.items():
                if os.path.dirname(path) == folder:
                    for found in re.finditer(r"[\w>&*]\s+(?:\w+::)*(\w+)\s*\(", source.code):
                        if declares(source.code[: found.start() + 1]):
                            names.add(found.group(1))
            self.declared[folder] = names
        return self.declared[folder]

    def checkStatics(self, path, source):
        kept = r"^\s*(?:static\s+(?!const\b|constexpr\b|inline\s+const)|thread_local\s)"
        for found in re.finditer(kept + r"[\w:<>,&*\s]+?\s\w+\s*(?:=[^;]*;|;|\{)", source.code, flags=re.M):
            line = source.line(found.end() - 1)
            self.report(path, line, "static", "state in a static: simulation runs several instances in one process")

    def checkAwaits(self, path, source):
        code = source.code
        for found in re.finditer(r"\bco_await\b", code):
            line = source.line(found.start())
            before = statementBefore(code, found.start())
            if before is None:
                self.report(path, line, "co_await", "inside parentheses or a condition; give it its own statement")
                continue
            if not AWAIT_BEFORE.fullmatch(before):
                self.report(path, line, "co_await", AWAIT_FORMS)
            end = statementEnd(code, found.end())
            if "{" in code[found.end() : end]:
                self.report(path, line, "co_await", "braces or a lambda inside the awaited expression; name it first")

    def checkLambdas(self, path, source):
        for offset, captures, body in lambdas(source):
            if captures and re.search(r"\bco_(?:await|return|yield)\b", withoutLambdas(body)):
                what = "captures die with the lambda; make it a member function"
                self.report(path, source.line(offset), "coroutine-lambda", what)

    def checkFunctions(self, path, source):
        for name, begin, end in functions(source):
            self.checkLength(path, name, source.line(begin), source.line(end))

    def checkCatches(self, path, source):
        if path.startswith("tests/"):
            return
        explained = {source.line(offset) for offset, _ in source.comments}
        for found in EMPTY_CATCH.finditer(source.code):
            begin, end = source.line(found.start()), source.line(found.end())
            if not explained.intersection(range(begin - 1, end + 1)):
                self.report(path, begin, "empty-catch", "an error that nobody hears of; do something, or say why not")

    def checkComments(self, path, source):
        for offset, comment in source.comments:
            alone = not source.text[source.text.rfind("\n", 0, offset) + 1 : offset].strip()
            if alone and comment.startswith("//") and CODE_COMMENT.match(comment):
                self.report(path, source.line(offset), "commented-code", "delete it; the history keeps it")

    def checkHeader(self, path, source):
        if not re.search(r"^#pragma once$", source.text, flags=re.M):
            self.report(path, 1, "pragma-once", "a header without #pragma once")
        if not source.text.startswith("// "):
            self.report(path, 1, "header-comment", "a header opens with what this is, who uses it, what it never does")

    # ---- any text ----------------------------------------------------------------------------

    def checkLines(self, path, text):
        lines = text.split("\n")
        code = path.endswith((".cc", ".h", ".py", ".sh")) or isShell(path, text)
        if (code or path.endswith(".capnp")) and len(lines) - 1 > FILE_LINES_MAX:
            self.report(path, len(lines), "file-length", f"{len(lines) - 1} lines, {FILE_LINES_MAX} at most")
        aboutRules = path.startswith("tests/tidy")
        for number, line in enumerate(lines, 1):
            if code and len(line) > LINE_COLUMNS_MAX:
                self.report(path, number, "line-length", f"{len(line)} columns, {LINE_COLUMNS_MAX} at most")
            if "\t" in line and not path.endswith("Makefile"):
                self.report(path, number, "tab", "use spaces")
            if aboutRules:
                continue
            if TODO.search(line) and not re.search(r"issue \d+|#\d+", line):
                self.report(path, number, "todo", "names no issue; do it or file it")
            if MACHINE.search(line) or any(publicAddress(m) for m in IP.finditer(line)):
                self.report(path, number, "machine", "a path or host of one machine")

    def checkPython(self, path, text):
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                self.checkLength(path, node.name, node.lineno, node.end_lineno)
            if isinstance(node, ast.ExceptHandler) and all(isinstance(n, ast.Pass) for n in node.body):
                if node.type is None or ast.unparse(node.type) in ("Exception", "BaseException"):
                    self.report(path, node.lineno, "empty-catch", "an error that nobody hears of")

    def checkShell(self, path, text):
        name, begin = None, 0
        for number, line in enumerate(text.split("\n"), 1):
            found = re.match(r"(\w+)\(\) \{", line)
            if found and not line.rstrip().endswith("}"):
                name, begin = found.group(1), number
            elif line == "}" and name:
                self.checkLength(path, name, begin, number)
                name = None

    def checkLength(self, path, name, begin, end):
        length = end - begin + 1
        if length > FUNCTION_LINES_MAX:
            self.report(path, begin, "function-length", f"{name} has {length} lines, {FUNCTION_LINES_MAX} at most")

    def checkTypeNames(self):
        """The simulation links the daemons and the client into one program: there one name is one type."""
        owners = {}
        for path, source in self.sources.items():
            box = path.split("/")[0]
            if box in SIBLINGS:
                for name, offset in typeNames(source.code):
                    owner = owners.setdefault(name, (box, path))
                    if owner[0] != box:
                        what = f"{name} is a type of {owner[1]} as well; two types of one name can't be linked together"
                        self.report(path, source.line(offset), "type-name", what)

    def checkMentioned(self):
        """Every source belongs to a target, every other file is named by somebody."""
        cmake = "\n".join(t for p, t in self.texts.items() if p == "CMakeLists.txt" or p.endswith(".cmake"))
        tokens = set(re.findall(r"[\w.*/${}-]+", cmake))
        included = set()
        for source in self.sources.values():
            included.update(re.findall(r'^\s*#\s*include\s*"([^"]+)"', source.text, flags=re.M))
        for path in self.files:
            if path.endswith(".cc"):
                ok = inTarget(path, tokens)
            elif path.endswith(".h"):
                ok = path in included
            elif "/" not in path or path.startswith(".ci/") or re.fullmatch(r"tests/planted/\w+\.patch", path):
                ok = True  # planted/run.py takes every patch
            else:
                name = os.path.splitext(os.path.basename(path))[0]
                ok = any(re.search(r"\b" + re.escape(name) + r"\b", t) for p, t in self.texts.items() if p != path)
            if not ok:
                self.report(path, 1, "unmentioned", "no target builds it and no file names it")


def typeNames(code):
    """(name, offset) of the types that are defined right in `namespace cairn`, and in no namespace within."""
    depth, closed = 0, {m.end() - 1: True for m in re.finditer(r"\bnamespace\s*(?:cairn::\w+\s*)?\{", code)}
    hidden = None
    heads = {m.end() - 1: m for m in TYPE_HEAD.finditer(code)}
    for offset, c in enumerate(code):
        if c == "{":
            if offset in closed and hidden is None:
                hidden = depth
            elif offset in heads and depth == 1 and hidden is None:
                yield heads[offset].group(1), heads[offset].start()
            depth += 1
        elif c == "}":
            depth -= 1
            if hidden == depth:
                hidden = None


def inTarget(path, tokens):
    """CMake names a folder (then all its sources but main.cc), a file, or a pattern of files."""
    folder, name = os.path.split(path)
    if folder in tokens and name != "main.cc":
        return True
    return any(fnmatch.fnmatch(path, t) for t in tokens if os.path.dirname(t) == folder and t.endswith(".cc"))


def isPython(path, text):
    return path.endswith(".py") or text.startswith("#!/usr/bin/env python3")


def isShell(path, text):
    return path.endswith(".sh") or bool(re.match(r"#!\S*(?:/| )(?:ba)?sh\b", text))


def publicAddress(found):
    a, b, c, _ = (int(g) for g in found.groups())
    if max(a, b, c) > 255 or a in (0, 10, 127, 255) or a >= 224:
        return False
    return (a, b) not in ((192, 168), (169, 254)) and not (a == 172 and 16 <= b < 32) and \
        (a, b, c) not in ((192, 0, 2), (198, 51, 100), (203, 0, 113))


def declares(before):
    """Does a type stand here, so that the name after it is declared and not called?"""
    return DECLARES.search(before) and not NOT_TYPES.search(before)


def calls(code, names):
    """Offsets where one of these functions is called (and not declared, and not a member of something)."""
    if not names:
        return
    for found in re.finditer(r"(?<![\w.>])(?:std::|::)?\b(" + "|".join(names) + r")\s*\(", code):
        before = code[: found.start()].rstrip()
        if before.endswith(("::", "->", ".")):
            continue
        if declares(before):
            continue
        yield found.start(1)


def statementBefore(code, i):
    """What stands before `i` in its statement, without leading if (...) and the like; None inside parentheses."""
    depth, begin = 0, None
    for j in range(i - 1, -1, -1):
        c = code[j]
        if c in ";{}" and depth == 0 and begin is None:
            begin = j + 1
        if c in ")]}":
            depth += 1
        elif c in "([{":
            depth -= 1
            if depth < 0:
                if c != "{":
                    return None
                break
    text = code[begin or 0 : i].strip()
    while True:
        found = STATEMENT_HEAD.match(text)
        if not found:
            return text
        end = found.end()
        if found.group().endswith("("):
            end = matching(text, found.end() - 1) + 1
        text = text[end:].strip()


def statementEnd(code, i):
    """The offset of the ';' that ends the statement: at its own depth of brackets."""
    depth = 0
    for j in range(i, len(code)):
        if code[j] in "({[":
            depth += 1
        elif code[j] in ")}]":
            depth -= 1
            if depth < 0:
                return j
        elif code[j] == ";" and depth == 0:
            return j
    return len(code)


def main():
    here = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    root = sys.argv[1] if len(sys.argv) > 1 else here
    violations = Tidy(root).run()
    for path, line, rule, what in violations:
        print(f"{path}:{line}: {rule}: {what}")
    if violations:
        print(f"tidy: {len(violations)} violations of the rules in ARCHITECTURE.md")
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main())

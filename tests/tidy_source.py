"""Reads C++ the way tests/tidy.py needs it: code without comments and strings, functions, lambdas."""
import bisect
import re

CONTROL = re.compile(r"(?:else\s+)?(?:if|for|while|switch|catch|do|else|try)\b")
RAW_STRING = re.compile(r'(?:u8|[uUL])?R"([^()\\\s]{0,16})\(')


class Source:
    """One C++ file. `code` has the length of `text`, with comments and literals' contents blanked."""

    def __init__(self, text):
        self.text = text
        self.lines = text.split("\n")
        self.starts = [0]
        for line in self.lines[:-1]:
            self.starts.append(self.starts[-1] + len(line) + 1)
        self.code, self.comments = blank(text)

    def line(self, offset):
        return bisect.bisect_right(self.starts, offset)


def blank(text):
    """Returns (code, comments): comments as a list of (offset, text)."""
    out, comments, i, n = list(text), [], 0, len(text)
    while i < n:
        two = text[i : i + 2]
        raw = RAW_STRING.match(text, i) if text[i] in 'uULR' and not wordBefore(text, i) else None
        if two == "//":
            end = endOfLine(text, i)
            comments.append((i, text[i:end]))
        elif two == "/*":
            end = text.find("*/", i + 2)
            end = n if end < 0 else end + 2
            comments.append((i, text[i:end]))
        elif raw:
            end = text.find(")" + raw.group(1) + '"', raw.end())
            end = n if end < 0 else end + len(raw.group(1)) + 2
        elif text[i] == '"' or (text[i] == "'" and not wordBefore(text, i)):
            end = closingQuote(text, i)
            if not includeLine(text, i):
                fill(out, i + 1, end - 1)
            i = end
            continue
        else:
            i += 1
            continue
        fill(out, i, end)
        i = end
    return "".join(out), comments


def wordBefore(text, i):
    return i > 0 and (text[i - 1].isalnum() or text[i - 1] == "_")


def endOfLine(text, i):
    end = text.find("\n", i)
    return len(text) if end < 0 else end


def includeLine(text, i):
    return text[text.rfind("\n", 0, i) + 1 : i].lstrip().startswith("#")


def closingQuote(text, i):
    quote, j = text[i], i + 1
    while j < len(text) and text[j] not in (quote, "\n"):
        j += 2 if text[j] == "\\" else 1
    return min(j + 1, len(text))


def fill(out, begin, end):
    for k in range(begin, end):
        if out[k] != "\n":
            out[k] = " "


def matching(code, i):
    """The offset of the bracket that closes the one at `i`; the end of the code when there is none."""
    pairs = {"(": ")", "{": "}", "[": "]"}
    stack = []
    for j in range(i, len(code)):
        if code[j] in pairs:
            stack.append(pairs[code[j]])
        elif stack and code[j] == stack[-1]:
            stack.pop()
            if not stack:
                return j
    return len(code)


def functions(source):
    """Yields (name, offset of '{', offset of '}') of each function that has a body, lambdas not counted."""
    code, stack, begin = source.code, [], 0
    for i, c in enumerate(code):
        if c == "{":
            header = code[begin:i].strip()
            inside = any(kind == "function" for kind, _, _ in stack)
            kind = "block" if inside else scopeKind(header)
            stack.append((kind, i, header))
            begin = i + 1
        elif c == "}":
            if stack:
                kind, opened, header = stack.pop()
                if kind == "function":
                    yield functionName(header), opened, i
            begin = i + 1
        elif c == ";" and code.count("(", begin, i) == code.count(")", begin, i):
            begin = i + 1


def scopeKind(header):
    header = re.sub(r"^\s*#.*$", "", header, flags=re.M).strip()
    header = re.sub(r"^(?:(?:public|private|protected)\s*:\s*)+", "", header)
    header = re.sub(r"^template\s*<.*?>\s*(?=\b(?:class|struct|union|enum)\b)", "", header, flags=re.S)
    if re.match(r"(?:inline\s+)?namespace\b|extern\b\s*\"|(?:class|struct|union|enum)\b[^()]*$", header):
        return "scope"
    if "(" not in header or re.search(r"=\s*$", header):
        return "block"
    return "block" if CONTROL.match(header) else "function"


def functionName(header):
    found = re.search(r"([\w:~]+|operator\s*\S+)\s*\(", header)
    return found.group(1) if found else "?"


LAMBDA_AFTER = re.compile(r"\s*(?:<[^<>]*>\s*)?(\(|\{|mutable\b)")


def lambdas(source):
    """Yields (offset, captures, body) of each lambda expression."""
    code = source.code
    for found in re.finditer(r"\[", code):
        i = found.start()
        before = code[:i].rstrip()
        subscript = before and (before[-1].isalnum() or before[-1] in "_)]")
        if (subscript and not re.search(r"\b(?:return|co_return)$", before)) or code[i + 1 : i + 2] == "[":
            continue
        close = matching(code, i)
        after = LAMBDA_AFTER.match(code, close + 1)
        if not after:
            continue
        j = after.start(1)
        if code[j] == "(":
            j = matching(code, j) + 1
        opened = code.find("{", j)
        if opened < 0 or ";" in code[j:opened]:
            continue
        yield i, code[i + 1 : close].strip(), code[opened : matching(code, opened) + 1]


def withoutLambdas(body):
    """`body` with the lambdas inside it blanked."""
    inner = Source(body[1:])
    out = list(body)
    for offset, _, text in lambdas(inner):
        begin = body.find("{", offset + 1)
        if begin >= 0:
            fill(out, begin, begin + len(text))
    return "".join(out)

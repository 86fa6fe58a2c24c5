"""Prometheus' text format, read strictly; and the pages of a daemon. Standard library only."""
import json
import os
import re
import time
import urllib.error
import urllib.request

SAMPLE = re.compile(r'^([a-zA-Z_:][a-zA-Z0-9_:]*)(\{(?:[a-zA-Z_]\w*="(?:[^"\\\n]|\\.)*",?)*\})? (\S+)$')
LABEL = re.compile(r'([a-zA-Z_]\w*)="((?:[^"\\]|\\.)*)"')


def get(address, path, host=None, timeout=20):
    request = urllib.request.Request(f"http://{address}{path}", headers={"Host": host} if host else {})
    with urllib.request.urlopen(request, timeout=timeout) as answer:
        return answer.read().decode()


def port(cluster, name, kind):
    with open(os.path.join(cluster.dir, "run", f"{name}.{kind}")) as f:
        return f"127.0.0.1:{f.read().strip()}"


class Metrics:
    """One scrape. Fails on what Prometheus would refuse."""

    def __init__(self, text):
        self.samples = {}
        self.types = {}
        for line in text.splitlines():
            if line.startswith("# TYPE "):
                _, _, name, kind = line.split()
                assert name not in self.types, f"told twice: {name}"
                self.types[name] = kind
            elif line and not line.startswith("#"):
                found = SAMPLE.match(line)
                assert found, f"not in the format: {line}"
                key = (found.group(1), frozenset(LABEL.findall(found.group(2) or "")))
                assert key not in self.samples, f"told twice: {line}"
                self.samples[key] = float(found.group(3))

    def value(self, name, **labels):
        return self.samples[(name, frozenset(labels.items()))]

    def total(self, name, **labels):
        """The sum of all samples that have these labels."""
        wanted = set(labels.items())
        return sum(value for (n, have), value in self.samples.items() if n == name and wanted <= have)

    def names(self):
        return {name for name, _ in self.samples}


def metrics(cluster, name):
    return Metrics(get(port(cluster, name, "metrics"), "/metrics"))


def page(cluster, name, seconds=60):
    """Any moment may be one of an election: then the page says that it can't say anything now."""
    end = time.monotonic() + seconds
    while True:
        try:
            return json.loads(get(port(cluster, name, "http"), "/status.json"))
        except urllib.error.HTTPError as e:
            if e.code != 503 or time.monotonic() > end:
                raise
        time.sleep(0.1)


def check(value, schema, where="page"):
    """The part of JSON Schema that tests/schemas/ uses; an unknown key of an object is a mistake."""
    kinds = {"object": dict, "array": list, "string": str, "boolean": bool, "null": type(None)}
    allowed = schema.get("type", [])
    allowed = [allowed] if isinstance(allowed, str) else allowed
    isNumber = isinstance(value, (int, float)) and not isinstance(value, bool)
    matches = [k for k in allowed if (k == "number" and isNumber) or
               (k == "integer" and isNumber and float(value).is_integer()) or
               (k in kinds and isinstance(value, kinds[k]))]
    assert not allowed or matches, f"{where}: {value!r} is no {allowed}"
    assert "enum" not in schema or value in schema["enum"], f"{where}: {value!r} is none of {schema['enum']}"
    assert "minimum" not in schema or not isNumber or value >= schema["minimum"], f"{where}: {value!r} is too low"
    if isinstance(value, dict):
        for key in schema.get("required", []):
            assert key in value, f"{where}: {key} is missing"
        for key, item in value.items():
            assert key in schema.get("properties", {}), f"{where}: {key} isn't in the schema"
            check(item, schema["properties"][key], f"{where}.{key}")
    if isinstance(value, list) and "items" in schema:
        for i, item in enumerate(value):
            check(item, schema["items"], f"{where}[{i}]")

#!/usr/bin/env python3
"""codes_page.py DFSADMIN > CODES.md: the codes that `dfsadmin explain` knows, as a page."""
import json
import subprocess
import sys

HEADING = """# Codes

What `dfsadmin explain` says, made by `tools/admin/codes_page.py`. A code never changes its meaning.
"""
KINDS = {"health": "Why a cluster isn't healthy", "error": "What dfsadmin refuses, or could not do"}


def page(dfsadmin):
    told = json.loads(subprocess.run([dfsadmin, "-o", "json", "explain"], check=True, capture_output=True).stdout)
    parts = [HEADING]
    for kind, title in KINDS.items():
        parts.append(f"\n## {title}\n\n| code | cause | effect | next |\n|---|---|---|---|\n")
        for code in told["codes"]:
            if code["kind"] == kind:
                parts.append(f"| `{code['code']}` | {code['cause']} | {code['effect']} | {code['next']} |\n")
    return "".join(parts)


if __name__ == "__main__":
    sys.stdout.write(page(sys.argv[1]))

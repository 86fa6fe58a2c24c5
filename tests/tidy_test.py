#!/usr/bin/env python3
"""Plants a violation of every rule of tests/tidy.py in a small tree, and its innocent look-alike beside it."""
import os
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from tidy import Tidy  # noqa: E402

CMAKE = """cairn_library(cairn_common common common/system)
cairn_library(x rpc master master/namespace chunkserver fuse-client/client fuse-client/fuse)
cairn_program(dfs-master cairn_master master/main.cc)
cairn_program(dfsadmin cairn_client tools/admin/*.cc)
cairn_test(unit_common unit tests/unit/common cairn_common)
"""


class TidyTest(unittest.TestCase):
    def violations(self, files):
        with tempfile.TemporaryDirectory() as root:
            files = {"CMakeLists.txt": CMAKE, **files}
            for path, text in files.items():
                at = os.path.join(root, path)
                os.makedirs(os.path.dirname(at), exist_ok=True)
                with open(at, "w", encoding="utf-8") as f:
                    f.write(text)
            return Tidy(root).run()

    def finds(self, rule, path, text, **more):
        """The rule, and only that rule, speaks about this file; returns the line numbers."""
        found = [v for v in self.violations({path: text, **more}) if v[0] == path]
        self.assertEqual({v[2] for v in found}, {rule}, f"{path}:\n{text}\n{found}")
        return [v[1] for v in found]

    def clean(self, path, text, **more):
        found = [v for v in self.violations({path: text, **more}) if v[0] == path]
        self.assertEqual(found, [], f"{path}:\n{text}")

    def body(self, statement):
        return f"Task<void> f() {{\n  {statement}\n}}\n"

    # ---- includes ----

    def testIncludeDirection(self):
        headers = {p: "// A header.\n#pragma once\n" for p in (
            "common/a.h", "rpc/r.h", "master/m.h", "chunkserver/c.h", "fuse-client/client/l.h", "fuse-client/fuse/f.h",
            "tools/admin/t.h")}
        wrong = [("common/x.cc", "rpc/r.h"), ("common/x.cc", "schema/types.capnp.h"), ("rpc/x.cc", "master/m.h"),
                 ("master/x.cc", "chunkserver/c.h"), ("chunkserver/x.cc", "master/m.h"),
                 ("master/x.cc", "fuse-client/client/l.h"), ("fuse-client/client/x.cc", "fuse-client/fuse/f.h"),
                 ("fuse-client/client/x.cc", "chunkserver/c.h"), ("fuse-client/fuse/x.cc", "tools/admin/t.h"),
                 ("master/namespace/x.cc", "rpc/r.h"), ("master/x.cc", "m.h")]
        for path, header in wrong:
            self.assertEqual(self.finds("include", path, f'#include "{header}"\n', **headers), [1])
        for path, header in [("rpc/x.cc", "common/a.h"), ("master/x.cc", "rpc/r.h"), ("tools/admin/x.cc", "master/m.h"),
                             ("fuse-client/fuse/x.cc", "fuse-client/client/l.h"),
                             ("tests/unit/common/x.cc", "master/m.h"),
                             ("master/namespace/x.cc", "schema/types.capnp.h"), ("master/x.cc", "schema/log.capnp.h")]:
            self.clean(path, f'#include "{header}"\n', **headers)

    def testIncludeOfLibraries(self):
        self.finds("include", "fuse-client/client/x.cc", "#include <fuse3/fuse_lowlevel.h>\n")
        self.finds("include", "common/x.cc", "#include <capnp/message.h>\n")
        self.clean("fuse-client/fuse/x.cc", "#include <fuse3/fuse_lowlevel.h>\n")

    # ---- seams ----

    def testSeamsFound(self):
        for line in ["auto t = time(nullptr);", "clock_gettime(CLOCK_MONOTONIC, &ts);",
                     "auto n = std::chrono::steady_clock::now();",
                     "int s = socket(AF_INET, SOCK_STREAM, 0);", "::connect(fd, at, size);", "::bind(fd, at, size);",
                     "int f = open(path, O_RDONLY);", "FILE* f = fopen(path, mode);", "std::ofstream out(path);",
                     "std::ifstream in(path);", "std::filesystem::remove(path);", "::unlink(path);", "fsync(fd);",
                     "std::thread t(run);", "std::mutex m;", "std::condition_variable c;", "auto a = std::async(run);",
                     "std::random_device r;", "int x = rand();", "getrandom(p, 8, 0);", "std::mt19937_64 e;",
                     "std::this_thread::sleep_for(d);", "usleep(10);", "return fdatasync(fd);",
                     "leveldb::Env::Default();",
                     "auto io = kj::setupAsyncIo();", "if (x && fsync(fd)) g();"]:
            self.assertEqual(self.finds("seam", "master/x.cc", f"void f() {{\n  {line}\n}}\n"), [2])

    def testSeamsAllowed(self):
        line = "void f() { std::mutex m; int s = socket(AF_INET, SOCK_STREAM, 0); usleep(10); }\n"
        for path in ["common/system/x.cc", "rpc/system_network.cc", "master/main.cc", "tests/unit/common/x_test.cc"]:
            self.clean(path, line, **{"tests/tests.cmake": "rpc/system_network.cc"})

    def testSeamLookAlikes(self):
        self.clean("master/x.cc", """struct N { kj::Promise<void> connect(const Address& a); Nanos time(); };
void f(N& n, File& file) {
  n.connect(a);
  auto t = n.time();
  file.sync();
  disk->open(path, Disk::Mode::READ);
  auto flags = fi->flags & O_RDONLY;
  // time(nullptr) and std::mutex are spoken of here
  log("std::thread rand() ::unlink(x)");
}
Task<Status> File::fsync(Handle h) { return g(h); }
Task<Status> File::again(Handle h) { return fsync(h); }
""")

    # ---- coroutines ----

    def testAwaitShapes(self):
        for line in ["if (co_await f()) g();", "while (co_await f()) g();", "do { g(); } while (co_await f());",
                     "switch (co_await f()) { default: g(); }", "co_await f(Request{.name = n});",
                     "co_await f([x] { g(x); });",
                     "co_await f({a, b});", "g(co_await f());", "auto x = g(co_await f());", "return co_await f();",
                     "m[k()] = co_await f();", "x += co_await f();",
                     "auto x = (co_await f()).y;", "for (int i = 0; i < 3; co_await f()) g();"]:
            self.assertEqual(set(self.finds("co_await", "master/x.cc", self.body(line))), {2}, line)

    def testAwaitForms(self):
        for line in ["co_await f(a, g(b), N(c));", "auto x = co_await f(a);", "co_return co_await f(a);",
                     "if (a) co_await f();", "else co_return co_await f();", "for (auto& x : xs) co_await f(x);",
                     "auto [a, b] = co_await f();", "auto a = g(); co_await f(a[1]);", "if (a) { co_await f(b); }",
                     "bool more = co_await f();", "x->y_ = co_await f();", "const std::map<A, B> m = co_await f(a);",
                     "KJ_IF_MAYBE(e, error) { co_await f(*e); }"]:
            self.clean("master/x.cc", self.body(line))

    def testCoroutineLambda(self):
        self.assertEqual(self.finds("coroutine-lambda", "master/x.cc", self.body(
            "auto l = [this, x]() -> Task<void> { co_return; };")), [2])
        self.clean("master/x.cc", self.body("auto l = [](int x) -> Task<void> { co_return; };"))
        self.clean("master/x.cc", self.body("auto l = [this] { return g(); };\n  auto x = a[b];\n  co_return;"))

    # ---- size and form ----

    def testLengths(self):
        lines = "".join(f"  g({i});\n" for i in range(70))
        long = f"namespace a {{\nvoid f(int x) {{\n{lines}}}\n}}\n"
        self.assertEqual(self.finds("function-length", "master/x.cc", long), [2])
        self.finds("function-length", "tools/x.py", "def f():\n" + "    g()\n" * 70, **{"README.md": "x.py"})
        self.finds("function-length", "tools/x.sh", "f() {\n" + "  g\n" * 70 + "}\n", **{"tools/dfs": "x"})
        self.clean("master/x.cc", "".join(f"void f{i}() {{\n  g();\n}}\n" for i in range(70)))
        self.clean("master/x.cc", "struct A {\n" + "  void f() {}\n" * 70 + "};\n")
        self.clean("master/x.cc", "const int T[] = {\n" + "  1,\n" * 70 + "};\n")
        self.finds("file-length", "master/x.cc", "int a;\n" * 601)
        self.finds("line-length", "master/x.cc", "int a = " + "1 + " * 40 + "1;\n")
        self.finds("tab", "master/x.cc", "void f() {\n\tg();\n}\n")

    def testWords(self):
        self.finds("todo", "master/x.cc", "// TO" + "DO: later\n")
        self.clean("master/x.cc", "// TO" + "DO(issue 12): later\n")
        for line in ["x = y + 1;", "return x;", "if (x) {", "}", "foo(bar);", "int x = 3;", '#include "a.h"',
                     "a.b(c).d(e);"]:
            self.finds("commented-code", "master/x.cc", f"// {line}\n")
        for line in ["The reply is made; then it is sent.", "   x = y + 1;", "Returns x.", "set(x); get(x): see above.",
                     "if (and only if) it holds", "`a = b;` is said here"]:
            self.clean("master/x.cc", f"// {line}\n")
        self.finds("machine", "master/x.cc", '// see /ho' + 'me/me/x\n')
        self.finds("machine", "docker/Dockerfile", "FROM 8.8." + "8.8\n", **{"README.md": "Dockerfile"})
        self.clean("master/x.cc", "// 127.0.0.1:7000 10.0.0.1 192.168.1.1 198.51.100.1\n")

    def testErrors(self):
        empty = "void f() {\n  try {\n    g();\n  } catch (const kj::Exception& e) {\n  }\n}\n"
        self.finds("empty-catch", "master/x.cc", empty)
        self.finds("empty-catch", "master/x.cc", "void f() {\n  p.catch_([](kj::Exception&&) {});\n}\n")
        self.finds("empty-catch", "tools/x.py", "try:\n    f()\nexcept Exception:\n    pass\n", **{"README.md": "x.py"})
        self.clean("master/x.cc", "void f() {\n  p.catch_([](kj::Exception&& e) { log(e); });\n}\n")
        self.clean("master/x.cc", "void f() {\n  // Its caller hears of it.\n  p.catch_([](kj::Exception&&) {});\n}\n")

    def testHeaders(self):
        user = {"master/y.cc": '#include "master/x.h"\n'}
        self.finds("pragma-once", "master/x.h", "// What it is.\nstruct A {};\n", **user)
        self.finds("header-comment", "master/x.h", "#pragma once\nstruct A {};\n", **user)
        self.clean("master/x.h", "// What it is.\n#pragma once\n", **user)

    def testStatics(self):
        self.finds("static", "master/x.cc", "static int counter = 0;\n")
        self.finds("static", "master/x.cc", "void f() {\n  static std::map<int, int> seen;\n}\n")
        self.clean("master/x.cc", "static const int A = 1;\nstatic constexpr int B = 1;\n")
        self.clean("master/x.cc", "static int f(int x);\nstatic_assert(A);\n")

    def testTypeNames(self):
        mine = "namespace cairn {\nstruct A final : B {\n  int x;\n};\n}\n"
        for other in ("struct A {};", "class A : public C {};", "enum class A { X };"):
            theirs = {"chunkserver/y.cc": "namespace cairn {\n" + other + "\n}\n"}
            self.assertEqual(self.finds("type-name", "master/x.cc", mine, **theirs), [2])
        for other in ("class A;", "namespace {\nstruct A {};\n}", "struct B {\n  struct A {};\n};", "void f(A& a) {}"):
            self.clean("master/x.cc", mine, **{"chunkserver/y.cc": "namespace cairn {\n" + other + "\n}\n"})
        self.clean("master/x.cc", mine, **{"master/y.cc": mine})
        self.clean("master/x.cc", mine, **{"tests/y.cc": mine, "tools/admin/y.cc": mine})

    def testUnmentioned(self):
        self.finds("unmentioned", "docker/x.cc", "int a;\n")
        self.finds("unmentioned", "common/x.h", "// What it is.\n#pragma once\n")
        self.finds("unmentioned", "tools/stray.sh", "f\n")
        self.clean("tools/admin/x.cc", "int a;\n")


if __name__ == "__main__":
    unittest.main()

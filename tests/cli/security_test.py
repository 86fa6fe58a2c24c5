#!/usr/bin/env python3
"""Who is let in by the daemons' TCP ports, and who isn't: nobody without a certificate, of another authority, expired,
revoked or in another role. A node joins with nothing but a token, and certificates renew themselves.
"""
import json
import os
import shutil
import socket
import ssl
import stat
import subprocess
import sys
import time
import unittest

from support import HERE, REFUSED, UNREACHABLE, CommandTest, free_port, program

sys.path.insert(0, os.path.join(os.path.dirname(HERE), "mount"))
from cluster import Cluster, run, wait_for  # noqa: E402

DEADLINE = 5.0  # seconds in which a connection must have shown who it is
SLACK = 5.0     # of a busy machine


class SecurityTest(CommandTest):
    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster(masters=3)
        cls.addClassCleanup(cls.cluster.close)
        cls.cluster.up()
        cls.cluster.wait_healthy()
        cls.tls = os.path.join(cls.cluster.dir, "tls")

    def toml(self):
        return os.path.join(self.cluster.dir, "cluster.toml")

    def ports(self):
        status = self.cluster.status()
        found = {n["name"]: n["address"].rsplit(":", 1) for n in status["masters"] + status["servers"]}
        return {name: (host, int(port)) for name, (host, port) in found.items()}

    def contents(self, path):
        with open(path) as f:
            return f.read()

    def admin(self, *words, code=0):
        done = self.cluster.admin(*words, check=False)
        self.assertEqual(done.returncode, code, f"{words}\n{done.stdout}{done.stderr}")
        return done.stdout

    def remote_file(self, name="remote.toml", tls="tls"):
        """The cluster as another host sees it: no sockets."""
        with open(self.toml()) as f:
            lines = [line for line in f if not line.startswith(("socket", "directory"))]
        text = "".join(lines).replace("[security]\n", f'[security]\ndirectory = "{tls}"\n')
        return self.write(name, text)


class Ports(SecurityTest):
    def context(self, identity=None, authority=None):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.load_verify_locations(authority or os.path.join(self.tls, "ca.crt"))
        if identity:
            context.load_cert_chain(identity)
        return context

    def greet(self, address, context):
        """What the port says to a caller that sends garbage after the handshake: None when it isn't let in."""
        with socket.create_connection(address, 30) as plain:
            plain.settimeout(30)
            try:
                with context.wrap_socket(plain) as secured:
                    secured.sendall(b"\xff" * 4)  # no message: who was let in is hung up on
                    return secured.recv(4096)
            except (ssl.SSLError, ConnectionError):
                return None

    def other_cluster(self):
        file = self.path("other", "cluster.toml")
        os.makedirs(self.path("other"), exist_ok=True)
        run(program("dfsadmin"), "cluster", "init", "--file", file)
        return self.path("other", "tls")

    def expired(self):
        """A certificate that the cluster's authority signed, and whose time is over."""
        short = self.path("short")
        shutil.copytree(self.tls, short)
        with open(self.remote_file("short.toml", "short")) as f:
            text = f.read().replace("[security]\n", "[security]\ncertificate_seconds = 1\n")
        run(program("dfsadmin"), "--cluster", self.write("short.toml", text), "cert", "issue", "--role", "client",
            "--name", "late")
        end = time.time() + 2
        wait_for("its time to be over", lambda: time.time() > end)
        return os.path.join(short, "client.late.pem")

    def test_who_is_not_let_in(self):
        other = self.other_cluster()
        late = self.expired()
        for name, address in self.ports().items():
            with self.subTest(name):
                self.assertIsNotNone(self.greet(address, self.context(os.path.join(self.tls, "client.default.pem"))))
                foreign = self.context(os.path.join(other, "client.default.pem"))
                self.assertIsNone(self.greet(address, foreign), "another cluster's")
                self.assertIsNone(self.greet(address, self.context(late)), "expired")
                old = self.context(os.path.join(self.tls, "client.default.pem"))
                old.maximum_version = ssl.TLSVersion.TLSv1_2
                self.assertIsNone(self.greet(address, old), "TLS 1.2")
                if name.startswith("c"):
                    self.assertIsNone(self.greet(address, self.context()), "no certificate")

    def test_garbage_costs_little(self):
        kinds = {"ones": b"\xff" * (4 << 20), "a record that never ends": b"\x16\x03\x01\x40\x00" + b"\0" * 20000,
                 "http": b"GET / HTTP/1.1\r\n\r\n" * 100000, "nothing": b"", "a byte": b"\x16"}
        began = time.monotonic()
        thrown = []
        for name, address in self.ports().items():
            for what, data in kinds.items():
                s = socket.create_connection(address, 30)
                self.addCleanup(s.close)
                s.settimeout(30)
                try:
                    s.sendall(data)
                except ConnectionError:
                    pass  # it has been hung up on already
                thrown.append((name, what, s))
        for name, what, s in thrown:
            with self.subTest(name=name, what=what):
                try:
                    while s.recv(65536):
                        pass
                except ConnectionError:
                    pass  # the same
                self.assertLess(time.monotonic() - began, DEADLINE + SLACK)
        self.cluster.status()

    def test_crowds_that_say_nothing(self):
        """More than may be let in at the same time; whoever has a certificate comes in all the same."""
        client = self.context(os.path.join(self.tls, "client.default.pem"))
        for name, address in self.ports().items():
            with self.subTest(name):
                crowd = [socket.create_connection(address, 30) for _ in range(600)]
                self.assertIsNotNone(self.greet(address, client))
                for s in crowd:
                    s.close()

    def test_roles(self):
        """A certificate under the name of another role's file; and what an admin's is good for, over TCP alone."""
        remote = self.remote_file()
        os.makedirs(self.path("tls"))
        shutil.copy(os.path.join(self.tls, "ca.crt"), self.path("tls"))
        shutil.copy(os.path.join(self.tls, "client.default.pem"), self.path("tls", "admin.default.pem"))
        self.refused(UNREACHABLE, ["client default"], "dfsadmin", "--cluster", remote, "status")
        shutil.copy(os.path.join(self.tls, "admin.default.pem"), self.path("tls", "admin.default.pem"))
        done = self.run_program("dfsadmin", "--cluster", remote, "status")
        self.assertIn(done.returncode, (0, 1), done.stdout + done.stderr)

    def test_keys_are_secret(self):
        for name in os.listdir(self.tls):
            mode = stat.S_IMODE(os.stat(os.path.join(self.tls, name)).st_mode)
            self.assertEqual(mode, 0o644 if name == "ca.crt" else 0o600, name)
        remote = self.remote_file()
        shutil.copytree(self.tls, self.path("tls"))
        os.chmod(self.path("tls", "client.default.pem"), 0o640)
        os.makedirs(self.path("mnt"))
        self.refused(REFUSED, ["client.default.pem", "chmod 600"], "dfs-mount", "--foreground", remote,
                     self.path("mnt"))
        for name in self.ports():
            with open(os.path.join(self.cluster.dir, "log", name + ".log"), errors="replace") as f:
                self.assertNotRegex(f.read(), r"PRIVATE KEY|cairn1-")

    def test_unix_sockets_are_for_root(self):
        """nobody's connection is closed without a word."""
        for name in ("m1", "c1"):
            path = os.path.join(self.cluster.dir, "run", name + ".sock")
            script = ("import socket,sys\ns=socket.socket(socket.AF_UNIX)\ns.settimeout(30)\n"
                      "try:\n s.connect(sys.argv[1])\n sys.exit(1 if s.recv(1) else 0)\n"
                      "except (PermissionError, ConnectionError): sys.exit(0)\n")
            run("chmod", "777", path)
            for directory in (self.cluster.base, self.cluster.dir, os.path.dirname(path)):
                run("chmod", "o+x", directory)
            done = subprocess.run(["setpriv", "--reuid=65534", "--clear-groups", sys.executable, "-c", script, path],
                                  timeout=60)
            self.assertEqual(done.returncode, 0)


class Joining(SecurityTest):
    def token(self, role, name, valid="10m"):
        return self.admin("cert", "token", "--role", role, "--name", name, "--valid", valid).strip()

    def start_server(self, name, *more):
        words = [program("dfs-chunkserver"), "--cluster", self.path(name, "cluster.toml"), "--name", name, "--dir",
                 self.path(name, "data"), "--listen", f"127.0.0.1:{free_port()}", *more]
        log = open(self.path(name + ".log"), "a")
        process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        log.close()
        return process

    def state(self, name):
        return [n for n in self.cluster.status()["servers"] if n["name"] == name and any(
            v["state"] == "online" for v in n["volumes"])]

    def log_of(self, name):
        with open(self.path(name + ".log"), errors="replace") as f:
            return f.read()

    def test_a_chunkserver_joins_and_is_revoked(self):
        token = self.token("chunkserver", "c9")
        process = self.start_server("c9", "--join", token)
        wait_for("c9 to take part", lambda: self.state("c9"))
        self.assertEqual(sorted(os.listdir(self.path("c9", "tls"))), ["ca.crt", "chunkserver.c9.pem"])
        # The token is used up: another key gets nothing for it.
        self.refused(REFUSED, ["used"], "dfsadmin", "cert", "join", token, "--file", self.path("thief", "cluster.toml"))
        self.assertFalse(os.path.exists(self.path("thief")))
        listed = json.loads(self.admin("-o", "json", "cert", "list"))
        states = [(c["role"], c["name"], c["state"]) for c in listed["certificates"]]
        self.assertIn(("chunkserver", "c9", "good"), states)
        self.assertNotIn(token, json.dumps(listed))
        self.admin("cert", "revoke", "--role", "chunkserver", "--name", "c9")
        wait_for("c9 to be cut off", lambda: not self.state("c9"))
        wait_for("c9 to hear why", lambda: "revoked" in self.all_logs())
        # It comes back with another token, in its old place.
        process.terminate()
        process.wait()
        os.unlink(self.path("c9", "tls", "chunkserver.c9.pem"))
        self.start_server("c9", "--join", self.token("chunkserver", "c9"))
        wait_for("c9 to take part again", lambda: self.state("c9"))

    def all_logs(self):
        text = ""
        for name in os.listdir(os.path.join(self.cluster.dir, "log")):
            with open(os.path.join(self.cluster.dir, "log", name), errors="replace") as f:
                text += f.read()
        return text

    def test_a_client_joins(self):
        """Over TCP alone, with a certificate of its own; when that is revoked the mount loses the cluster."""
        file = self.path("client", "cluster.toml")
        done = self.run_program("dfsadmin", "cert", "join", self.token("client", "laptop"), "--file", file)
        self.assertEqual(done.returncode, 0, done.stderr)
        mnt = self.path("mnt")
        os.makedirs(mnt)
        with open(self.path("mount.log"), "w") as log:
            process = subprocess.Popen([program("dfs-mount"), "--foreground", "-o", "soft,timeout=2", file, mnt],
                                       stdin=subprocess.DEVNULL, stderr=log)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        wait_for("the mount", lambda: os.path.ismount(mnt))
        with open(os.path.join(mnt, "file"), "wb") as f:
            f.write(os.urandom(3 << 20))
            f.flush()
            os.fsync(f.fileno())
        self.assertTrue(subprocess.run(["cmp", os.path.join(mnt, "file"), self.cluster.path("file")]).returncode == 0)
        self.admin("cert", "revoke", "--role", "client", "--name", "laptop")

        def cut_off():
            try:
                os.mkdir(os.path.join(mnt, f"new{time.monotonic()}"))
                return False
            except OSError:
                return True
        wait_for("the mount to be cut off", cut_off)

    def test_tokens_that_do_not_fit(self):
        token = self.token("chunkserver", "c8")
        words = ("--cluster", self.path("x", "cluster.toml"), "--dir", self.path("x"), "--listen",
                 f"127.0.0.1:{free_port()}")
        self.refused(REFUSED, ["c8", "c7"], "dfs-chunkserver", *words, "--name", "c7", "--join", token)
        self.refused(REFUSED, ["no join token", "dfsadmin cert token"], "dfs-chunkserver", *words, "--name", "c8",
                     "--join", token[:-1])
        expired = self.token("chunkserver", "c8", "1s")
        end = time.time() + 3
        wait_for("its time to be over", lambda: time.time() > end)
        self.refused(REFUSED, ["expired"], "dfs-chunkserver", *words, "--name", "c8", "--join", expired)

    def test_certificates_renew_themselves(self):
        """With certificates that live for seconds, daemons and a mount that are never restarted."""
        with Cluster(chunkservers=1) as c:
            c.down()
            file = os.path.join(c.dir, "cluster.toml")
            with open(file) as f:
                text = f.read().replace("[security]\n", "[security]\ncertificate_seconds = 12\n")
            with open(file, "w") as f:
                f.write(text)
            for name in os.listdir(os.path.join(c.dir, "tls")):
                if name.endswith(".pem"):
                    os.unlink(os.path.join(c.dir, "tls", name))
            for role in ("client", "admin"):
                c.admin("cert", "issue", "--role", role, "--name", "default", patient=False)
            c.up()
            pids = c.pids()
            names = ("master.m1.pem", "chunkserver.c1.pem", "client.default.pem")

            def contents():
                return {name: self.contents(os.path.join(c.dir, "tls", name)) for name in names}
            first = contents()
            wait_for("all to be renewed", lambda: all(contents()[name] != first[name] for name in names))
            second = contents()
            wait_for("all to be renewed again", lambda: all(contents()[name] != second[name] for name in names))
            self.assertEqual(c.pids(), pids)
            admin = os.path.join(c.dir, "tls", "admin.default.pem")
            expired = self.contents(admin)
            c.status()
            self.assertNotEqual(self.contents(admin), expired, "dfsadmin renews its own when it is used")
            with open(c.path("file"), "w") as f:
                f.write("x")

    def test_a_master_gets_the_key_from_the_others(self):
        """One that has joined from elsewhere has its certificate only; when the others are gone it can let nodes in."""
        tls = self.path("m3tls")
        os.makedirs(tls)
        for name in ("ca.crt", "master.m3.pem"):
            shutil.copy(os.path.join(self.tls, name), tls)
        with open(self.toml()) as f:
            text = f.read().replace('directory = "tls"', f'directory = "{tls}"').replace(
                '"run/', f'"{self.cluster.dir}/run/')
        file = self.write("m3.toml", text)
        self.cluster.play("kill", "m3")
        data = os.path.join(self.cluster.dir, "m3")
        words = [program("dfs-master"), "--cluster", file, "--name", "m3", "--dir", data]
        with open(self.path("m3.log"), "w") as log:
            process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            wait_for("the key", lambda: os.path.exists(os.path.join(tls, "ca.key")))
            self.assertEqual(stat.S_IMODE(os.stat(os.path.join(tls, "ca.key")).st_mode), 0o600)
        finally:
            process.terminate()
            process.wait()
            self.cluster.play("start", "m3")
        self.cluster.wait_healthy()


if __name__ == "__main__":
    unittest.main(verbosity=2)

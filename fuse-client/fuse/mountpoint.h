// What the operating system must offer before a mount, checked one by one so that each refusal names the thing,
// the cause and the next step; and taking a mount down again. With fuse_session.cc and daemon.cc the only part
// of the client that touches the host's files and processes.
#pragma once
#include <sys/types.h>

#include <string>

#include "common/result.h"
#include "fuse-client/fuse/options.h"

namespace cairn {

// Everything about the host: /dev/fuse, the helper fusermount3 for ordinary users, and the mount point.
// The error's code is the exit code.
Status checkHost(const MountOptions& options, bool asRoot);

// The absolute form of `path`; the same when it has none.
std::string absolutePath(const std::string& path);

// Detaches the mount from a child process, so that this one can go on answering the kernel meanwhile (an
// unmount writes back mapped pages). `fuseDescriptor` is closed in the child. The child's pid, or -1.
pid_t startUnmount(const std::string& mountPoint, int fuseDescriptor);

// What the kernel calls the file system that is mounted at `mountPoint` ("0:45"), the topmost there; empty: none is.
std::string mountedDevice(const std::string& mountPoint);

// Lets the kernel read ahead up to `bytes` on the mount; nothing happens without the privilege to.
void raiseReadAhead(const std::string& mountPoint, uint64_t bytes);

// Raises the limit of open files as far as allowed, and tells the kernel that memory reclaim must not wait for
// this process.
void prepareProcess();

// True once stat(2) of the mount point reaches a FUSE file system. May block: for a process that is not the
// one that serves.
bool mountAnswers(const std::string& mountPoint);

}  // namespace cairn

#include "common/system/security_files.h"

#include <fcntl.h>
#include <kj/io.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <vector>

namespace cairn {

namespace {

constexpr mode_t SECRET_MODE = 0600;
constexpr mode_t PUBLIC_MODE = 0644;
constexpr mode_t DIRECTORY_MODE = 0700;
constexpr size_t FILE_BYTES_MAX = 64 << 10;

Error failed(const std::string& path, const char* doing) {
  int code = errno;
  return Error{code, path + ": " + doing + ": " + strerror(code)};
}

Result<std::string> readFile(const std::string& path, bool secret) {
  kj::AutoCloseFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (fd.get() < 0) {
    return failed(path, "can't be opened");
  }
  struct stat info {};
  if (::fstat(fd.get(), &info) != 0 || !S_ISREG(info.st_mode) || static_cast<size_t>(info.st_size) > FILE_BYTES_MAX) {
    return Error{EINVAL, path + ": no file of certificates"};
  }
  if (secret && (info.st_mode & 077) != 0) {
    return Error{EPERM, path + " holds a private key, and others than its owner may read it: chmod 600 " + path +
                            ", and have a new one made if somebody has"};
  }
  std::string text(static_cast<size_t>(info.st_size), '\0');
  if (::pread(fd.get(), text.data(), text.size(), 0) != info.st_size) {
    return failed(path, "can't be read");
  }
  return text;
}

std::string directoryOf(const std::string& path) {
  size_t slash = path.rfind('/');
  return slash == std::string::npos ? "." : slash == 0 ? "/" : path.substr(0, slash);
}

Status makeDirectories(const std::string& path) {
  for (size_t at = path.find('/', 1); at != std::string::npos; at = path.find('/', at + 1)) {
    ::mkdir(path.substr(0, at).c_str(), DIRECTORY_MODE);  // what is missing then is said below
  }
  if (::mkdir(path.c_str(), DIRECTORY_MODE) != 0 && errno != EEXIST) {
    return failed(path, "can't be made");
  }
  return {};
}

Status writeAll(int fd, const std::string& path, const std::string& text) {
  size_t done = 0;
  while (done < text.size()) {
    ssize_t n = ::write(fd, text.data() + done, text.size() - done);
    if (n < 0 && errno != EINTR) {
      return failed(path, "can't be written");
    }
    done += static_cast<size_t>(n > 0 ? n : 0);
  }
  return ::fsync(fd) == 0 ? Status() : Status(failed(path, "can't be written"));
}

Status syncDirectory(const std::string& path) {
  kj::AutoCloseFd fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  return fd.get() >= 0 && ::fsync(fd.get()) == 0 ? Status() : Status(failed(path, "can't be written"));
}

Status writeFile(const std::string& path, const std::string& text, mode_t mode, bool replace) {
  auto made = makeDirectories(directoryOf(path));
  if (!made.ok()) {
    return made;
  }
  if (!replace && ::access(path.c_str(), F_OK) == 0) {
    return Error{EEXIST, path + " is there already"};
  }
  std::string aside = path + ".new." + std::to_string(::getpid());
  ::unlink(aside.c_str());  // of a process of that number that died
  Status written;
  {
    kj::AutoCloseFd fd(::open(aside.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode));
    written = fd.get() < 0 ? Status(failed(aside, "can't be made")) : writeAll(fd.get(), aside, text);
  }
  if (written.ok() && ::rename(aside.c_str(), path.c_str()) != 0) {
    written = failed(path, "can't be written");
  }
  if (!written.ok()) {
    ::unlink(aside.c_str());
    return written;
  }
  return syncDirectory(directoryOf(path));
}

}  // namespace

std::string authorityFile(const std::string& directory) {
  return directory + "/ca.crt";
}
std::string authorityKeyFile(const std::string& directory) {
  return directory + "/ca.key";
}
std::string identityFile(const std::string& directory, PeerRole role, const std::string& name) {
  return directory + "/" + roleText(role) + "." + name + ".pem";
}

std::string usualIdentity(const std::string& directory, PeerRole role) {
  const std::string usual = "default";
  const std::string prefix = std::string(roleText(role)) + ".";
  const std::string suffix = ".pem";
  std::vector<std::string> names;
  std::error_code failure;
  for (const auto& entry : std::filesystem::directory_iterator(directory, failure)) {
    std::string file = entry.path().filename();
    if (file.size() > prefix.size() + suffix.size() && file.starts_with(prefix) && file.ends_with(suffix)) {
      names.push_back(file.substr(prefix.size(), file.size() - prefix.size() - suffix.size()));
    }
  }
  bool hasUsual = names.empty() || std::find(names.begin(), names.end(), usual) != names.end();
  return hasUsual ? usual : *std::min_element(names.begin(), names.end());
}

Result<std::string> readCertificateFile(const std::string& path) {
  return readFile(path, false);
}
Result<std::string> readSecretFile(const std::string& path) {
  return readFile(path, true);
}

Status writeCertificateFile(const std::string& path, const std::string& text) {
  return writeFile(path, text, PUBLIC_MODE, true);
}
Status writeSecretFile(const std::string& path, const std::string& text) {
  return writeFile(path, text, SECRET_MODE, true);
}
Status writeNewFile(const std::string& path, const std::string& text) {
  return writeFile(path, text, PUBLIC_MODE, false);
}

}  // namespace cairn

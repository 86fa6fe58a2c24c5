// dfs-user: what anybody may ask of a mounted CairnFS beside its system calls; tools/dfs has it as `du` and `rm`. It
// talks to the mount alone, through attributes that CairnFS makes up (user.dfs.*).
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

namespace cairn {
namespace {

constexpr int EXIT_DONE = 0;
constexpr int EXIT_REFUSED = 2;
constexpr int EXIT_USAGE = 64;
constexpr const char* COUNTS[] = {"user.dfs.rbytes", "user.dfs.rfiles", "user.dfs.rsubdirs"};
constexpr const char* USAGE =
    "usage: dfs du PATH...   bytes, files and directories of each, without looking through it\n"
    "       dfs rm PATH...   a whole tree at once; what it takes up is given back behind\n"
    "\n"
    "Example: dfs du /mnt/cairn/home\n";
constexpr const char* DETACH = "user.dfs.detach";

int complain(const std::string& path, const std::string& what) {
  fprintf(stderr, "dfs: %s: %s\n", path.c_str(), what.c_str());
  return EXIT_REFUSED;
}

bool read(const std::string& path, const char* name, std::string& value) {
  char bytes[64];
  ssize_t size = lgetxattr(path.c_str(), name, bytes, sizeof(bytes));
  value.assign(bytes, size < 0 ? 0 : static_cast<size_t>(size));
  return size >= 0;
}

std::string whyNot(int error) {
  bool unknown = error == ENODATA || error == EOPNOTSUPP;
  return unknown ? "is not on a CairnFS mount, or was not counted yet" : strerror(error);
}

// One line: bytes, files, directories, path. A directory counts itself too, as `find` does.
int showUse(const std::string& path) {
  struct stat is;
  if (lstat(path.c_str(), &is) != 0) {
    return complain(path, strerror(errno));
  }
  if (!S_ISDIR(is.st_mode)) {
    printf("%lld\t1\t0\t%s\n", S_ISREG(is.st_mode) ? static_cast<long long>(is.st_size) : 0, path.c_str());
    return EXIT_DONE;
  }
  std::string counts[3];
  for (int i = 0; i < 3; ++i) {
    if (!read(path, COUNTS[i], counts[i])) {
      return complain(path, whyNot(errno));
    }
  }
  unsigned long long directories = std::stoull(counts[2]) + 1;
  printf("%s\t%s\t%llu\t%s\n", counts[0].c_str(), counts[1].c_str(), directories, path.c_str());
  return EXIT_DONE;
}

int remove(const std::string& path) {
  struct stat is;
  if (lstat(path.c_str(), &is) != 0) {
    return complain(path, strerror(errno));
  }
  if (!S_ISDIR(is.st_mode)) {
    return unlink(path.c_str()) == 0 ? EXIT_DONE : complain(path, strerror(errno));
  }
  std::error_code error;
  std::filesystem::path whole = std::filesystem::canonical(path, error);
  if (error || !whole.has_relative_path()) {
    return complain(path, error ? error.message() : "is the root");
  }
  std::string count;
  std::string parent = whole.parent_path().string();
  std::string name = whole.filename().string();
  if (!read(parent, COUNTS[0], count)) {  // another file system would keep the attribute
    return complain(path, whyNot(errno) + "; rm -r removes it");
  }
  if (setxattr(parent.c_str(), DETACH, name.data(), name.size(), 0) != 0) {
    return complain(path, strerror(errno));
  }
  // The kernel doesn't know yet that the name is gone, and learns it from this.
  if (rmdir(whole.c_str()) != 0 && errno != ENOENT) {
    return complain(path, strerror(errno));
  }
  return EXIT_DONE;
}

int mainProgram(const std::vector<std::string>& words) {
  bool du = !words.empty() && words[0] == "du";
  bool rm = !words.empty() && words[0] == "rm";
  if ((!du && !rm) || words.size() < 2) {
    bool help = words.size() == 1 && (words[0] == "--help" || words[0] == "-h");
    fputs(USAGE, help ? stdout : stderr);
    return help ? EXIT_DONE : EXIT_USAGE;
  }
  int code = EXIT_DONE;
  for (size_t i = 1; i < words.size(); ++i) {
    code = std::max(code, du ? showUse(words[i]) : remove(words[i]));
  }
  return code;
}

}  // namespace
}  // namespace cairn

int main(int argc, char** argv) { return cairn::mainProgram(std::vector<std::string>(argv + 1, argv + argc)); }

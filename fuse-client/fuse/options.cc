#include "fuse-client/fuse/options.h"

#include <algorithm>
#include <charconv>
#include <functional>
#include <map>
#include <optional>
#include <set>

namespace cairn {
namespace {

constexpr const char* VERSION_TEXT = "dfs-mount 0.1.0 (CairnFS)\n";
constexpr const char* HELP_TEXT =
    "Usage: dfs-mount [-o OPTIONS] CLUSTER_FILE MNT\n"
    "Mounts the cluster that CLUSTER_FILE (cluster.toml) describes on the directory MNT.\n"
    "\n"
    "  -f, --foreground          stay in the foreground, log to standard error\n"
    "      --connect-timeout S   give up when no master answers within S seconds (default 10)\n"
    "      --supervise           have another process take over when the one that serves dies, or, with what is\n"
    "                            installed now, when this one gets SIGUSR2 (--no-supervise: not; default: only in the\n"
    "                            background)\n"
    "      --log FILE            write log lines to FILE; it is begun anew when it has grown to 64 MiB\n"
    "      --log-level LEVEL     trace, debug, info, warn, error (default info)\n"
    "      --log-format FORM     text (default) or json, an object a line\n"
    "      --metrics ADDR:PORT   serve metrics for Prometheus there (default: nowhere)\n"
    "      --slow-ms N           log calls that take longer, and where the time goes (default 1000; 0: none)\n"
    "  -h, --help                this text\n"
    "  -V, --version             the version\n"
    "  -o OPTIONS                separated by commas:\n"
    "      ro, rw                read-only or not\n"
    "      subdir=DIR            show this directory of the cluster as the root of the mount\n"
    "      identity=NAME         whose certificate to show: client.NAME.pem of the cluster's [security] directory\n"
    "      hard                  wait as long as the cluster is away (default); a program that waits can be killed\n"
    "      soft,timeout=S        fail with EIO after S seconds instead (default 30)\n"
    "      cache-size=BYTES      memory for caches and buffers; K, M, G may follow\n"
    "      sync                  write() returns when the data is durable\n"
    "      entry-timeout=S, attr-timeout=S, negative-timeout=S   how long the kernel believes names and attributes at\n"
    "                            most; leases end it sooner\n"
    "      allow_other, allow_root, default_permissions          as for any FUSE file system; default as root:\n"
    "                            allow_other and default_permissions (noallow_other turns the first off)\n"
    "      fsname=NAME           what df shows\n"
    "      nonempty              mount over a directory that is not empty\n"
    "      relatime              a read moves the access time once after each change and once a day (default)\n"
    "      noatime, strictatime  no read moves it, or every one, which then passes the kernel's pages by; nodiratime:\n"
    "                            no reading of a directory does\n"
    "      nosuid, nodev (defaults), suid, dev, noexec, dirsync, defaults, _netdev, x-*\n"
    "\n"
    "Example:  dfs-mount -o subdir=/home,noatime /etc/cairnfs/cluster.toml /mnt/home\n"
    "In fstab: /etc/cairnfs/cluster.toml /mnt/home fuse.dfs subdir=/home,_netdev 0 0\n";

EarlyExit usage(const std::string& mistake) {
  return {EXIT_USAGE, "dfs-mount: " + mistake + "\nTry: dfs-mount --help\n"};
}

bool parseMillis(const std::string& text, Nanos& nanos) {
  uint32_t millis = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), millis);
  nanos = millis * MILLISECOND;
  return error == std::errc() && end == text.data() + text.size();
}

// A number of seconds with an optional fraction; false for anything else.
bool parseSeconds(const std::string& text, Nanos& nanos) {
  double seconds = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), seconds);
  if (error != std::errc() || end != text.data() + text.size() || !(seconds >= 0) || seconds > 1e9) {
    return false;
  }
  nanos = static_cast<Nanos>(seconds * SECOND);
  return true;
}

bool parseBytes(const std::string& text, uint64_t& bytes) {
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), bytes);
  if (error != std::errc()) {
    return false;
  }
  std::string unit(end, text.data() + text.size());
  static constexpr uint64_t UNIT_MAX = uint64_t{1} << 30;
  uint64_t factor = unit.empty() ? 1 : unit == "K" ? 1u << 10 : unit == "M" ? 1u << 20 : unit == "G" ? UNIT_MAX : 0;
  if (factor == 0 || bytes > UINT64_MAX / UNIT_MAX) {
    return false;
  }
  bytes *= factor;
  return true;
}

// Splits at commas; a backslash takes the next character as it is.
std::vector<std::string> splitOptions(const std::string& text) {
  std::vector<std::string> parts(1);
  for (size_t i = 0; i < text.size(); i++) {
    if (text[i] == '\\' && i + 1 < text.size()) {
      parts.back() += text[++i];
    } else if (text[i] == ',') {
      parts.emplace_back();
    } else {
      parts.back() += text[i];
    }
  }
  return parts;
}

bool ignoredOption(const std::string& option) {
  static const std::set<std::string> NAMES = {"",      "defaults", "_netdev", "auto",  "noauto", "user",
                                              "users", "nouser",   "owner",   "group", "nofail", "mand",
                                              "nomand", "norelatime", "lazytime", "nolazytime"};
  return NAMES.contains(option) || option.starts_with("x-") || option.starts_with("X-") ||
         option.starts_with("comment=") || option.starts_with("uhelper=") || option.starts_with("helper=");
}

class OptionParser {
 public:
  explicit OptionParser(MountOptions& out) : out_(out) {
    using std::string;
    flags_ = {
        {"ro", [this] { out_.readOnly = true; }},
        {"rw", [this] { out_.readOnly = false; }},
        {"hard", [this] { soft_ = false; }},
        {"soft", [this] { soft_ = true; }},
        {"sync", [this] { out_.synchronous = true; }},
        {"async", [this] { out_.synchronous = false; }},
        {"dirsync", [] {}},  // metadata is always durable when answered
        {"allow_other", [this] { setAccess(true, false); }},
        {"noallow_other", [this] { setAccess(false, false); }},
        {"allow_root", [this] { setAccess(false, true); }},
        {"default_permissions", [this] { out_.defaultPermissions = true; }},
        {"nonempty", [this] { out_.nonEmpty = true; }},
    };
    for (const char* name : {"nosuid", "suid", "nodev", "dev", "noexec", "exec"}) {
      flags_[name] = [this, name] { out_.kernelFlags.push_back(name); };
    }
    addAccessTimes();
    values_ = {
        {"identity", [this](const string& v) { return out_.identity = v, !v.empty(); }},
        {"subdir", [this](const string& v) { return out_.subdir = v, !v.empty(); }},
        {"fsname", [this](const string& v) { return out_.fsname = v, !v.empty(); }},
        {"timeout", [this](const string& v) { return parseSeconds(v, timeout_) && timeout_ > 0; }},
        {"cache-size",
         [this](const string& v) { return parseBytes(v, out_.cacheBytes) && out_.cacheBytes >= 1u << 20; }},
        {"entry-timeout", [this](const string& v) { return parseSeconds(v, out_.entryTimeout); }},
        {"attr-timeout", [this](const string& v) { return parseSeconds(v, out_.attributeTimeout); }},
        {"negative-timeout", [this](const string& v) { return parseSeconds(v, out_.negativeTimeout); }},
    };
  }

  // The last one counts. The kernel, which has no part in it, is told of noatime for people to see.
  void addAccessTimes() {
    auto set = [this](AccessTimes times) { return [this, times] { out_.accessTimes = times; }; };
    flags_["relatime"] = flags_["atime"] = flags_["nostrictatime"] = set(AccessTimes::RELATIVE);
    flags_["strictatime"] = set(AccessTimes::STRICT);
    flags_["diratime"] = [this] { out_.directoryAccessTimes = true; };
    flags_["noatime"] = [this] {
      out_.accessTimes = AccessTimes::NEVER;
      out_.kernelFlags.push_back("noatime");
    };
    flags_["nodiratime"] = [this] { out_.directoryAccessTimes = false; };  // libfuse 3.14 refuses it
  }

  // The mistake, or an empty text.
  std::string parse(const std::string& text) {
    for (const std::string& option : splitOptions(text)) {
      auto mistake = take(option);
      if (!mistake.empty()) {
        return mistake;
      }
    }
    return {};
  }

  std::string finish() {
    if (timeout_ > 0 && !soft_) {
      return "option timeout= is for soft mounts: write -o soft,timeout=S, or leave it out";
    }
    constexpr Nanos SOFT_TIMEOUT_DEFAULT = 30 * SECOND;
    out_.softTimeout = !soft_ ? 0 : timeout_ > 0 ? timeout_ : SOFT_TIMEOUT_DEFAULT;
    return {};
  }

 private:
  void setAccess(bool allowOther, bool allowRoot) {
    out_.allowOther = allowOther;
    out_.allowRoot = allowRoot;
  }

  std::string take(const std::string& option) {
    if (ignoredOption(option)) {
      return {};
    }
    auto flag = flags_.find(option);
    if (flag != flags_.end()) {
      flag->second();
      return {};
    }
    auto equals = option.find('=');
    auto name = option.substr(0, equals);
    auto value = values_.find(name == "entry_timeout"      ? "entry-timeout"
                              : name == "attr_timeout"     ? "attr-timeout"
                              : name == "negative_timeout" ? "negative-timeout"
                                                           : name);
    if (value == values_.end()) {
      return "unknown option '" + option + "' after -o; --help lists what there is";
    }
    if (equals == std::string::npos || !value->second(option.substr(equals + 1))) {
      return "option '" + option + "' has no usable value; --help shows the form";
    }
    return {};
  }

  MountOptions& out_;
  bool soft_ = false;
  Nanos timeout_ = 0;
  std::map<std::string, std::function<void()>> flags_;
  std::map<std::string, std::function<bool(const std::string&)>> values_;
};

// Goes through the words; keeps what it found until all are seen.
class CommandLine {
 public:
  CommandLine(const std::vector<std::string>& words, MountOptions& out) : words_(words), out_(out), options_(out) {}

  // Nothing: go on. Else: say this and end.
  std::variant<std::monostate, EarlyExit> parse() {
    for (; at_ < words_.size(); at_++) {
      const std::string& word = words_[at_];
      if (word == "-h" || word == "--help") {
        return EarlyExit{EXIT_DONE, HELP_TEXT};
      }
      if (word == "-V" || word == "--version") {
        return EarlyExit{EXIT_DONE, VERSION_TEXT};
      }
      size_t from = at_;
      bool isPlace = onlyPlaces_ || word.size() < 2 || word[0] != '-';
      auto mistake = isPlace ? place(word) : flag(word);
      if (!isPlace && !onlyPlaces_) {
        out_.flags.insert(out_.flags.end(), words_.begin() + static_cast<ptrdiff_t>(from),
                          words_.begin() + static_cast<ptrdiff_t>(std::min(at_ + 1, words_.size())));
      }
      if (!mistake.empty()) {
        return usage(mistake);
      }
    }
    auto mistake = finish();
    if (!mistake.empty()) {
      return usage(mistake);
    }
    return std::monostate{};
  }

 private:
  std::string place(const std::string& word) {
    places_.push_back(word);
    return places_.size() > 2 ? "one argument too many: '" + word + "'; give CLUSTER_FILE and MNT" : "";
  }

  std::string flag(const std::string& word) {
    static const std::set<std::string> SILENT = {"-n", "-s", "-v", "-i", "-w", "--verbose", "--no-mtab"};
    if (word == "--") {
      onlyPlaces_ = true;
    } else if (word == "-f" && calledByMount()) {
      out_.checkOnly = true;
    } else if (word == "-f" || word == "--foreground") {
      out_.foreground = true;
    } else if (word == "--supervise" || word == "--no-supervise") {
      supervise_ = word == "--supervise";
    } else if (word == "-r" || word == "--read-only") {
      out_.readOnly = true;
    } else if (!SILENT.contains(word)) {
      return flagWithValue(word);
    }
    return {};
  }

  std::string flagWithValue(const std::string& word) {
    auto equals = word.starts_with("--") ? word.find('=') : std::string::npos;
    bool attached = word.starts_with("-o") && word.size() > 2;
    auto name = attached ? "-o" : word.substr(0, equals);
    static const std::set<std::string> KNOWN = {"-o",       "-t",          "-N",           "--connect-timeout",
                                                "--log",    "--log-level", "--log-format", "--metrics",
                                                "--slow-ms", "--worker"};
    if (!KNOWN.contains(name)) {
      return "unknown flag '" + word + "'";
    }
    std::string value;
    if (attached) {
      value = word.substr(2);
    } else if (equals != std::string::npos) {
      value = word.substr(equals + 1);
    } else if (at_ + 1 < words_.size()) {
      value = words_[++at_];
    } else {
      return "flag " + name + " needs a value after it";
    }
    return setFlag(name, value);
  }

  std::string setFlag(const std::string& name, const std::string& value) {
    static const std::set<std::string> LEVELS = {"trace", "debug", "info", "warn", "error"};
    if (name == "-o") {
      return options_.parse(value);
    }
    if (name == "--connect-timeout" && !(parseSeconds(value, out_.connectTimeout) && out_.connectTimeout > 0)) {
      return "--connect-timeout " + value + ": give a number of seconds above 0";
    }
    if (name == "--log-level" && !LEVELS.contains(value)) {
      return "--log-level " + value + ": one of trace, debug, info, warn, error";
    }
    if (name == "--log-format" && value != "text" && value != "json") {
      return "--log-format " + value + ": text or json";
    }
    if (name == "--slow-ms" && !parseMillis(value, out_.slow)) {
      return "--slow-ms " + value + ": give a number of milliseconds, or 0";
    }
    if (name == "--metrics" && value.find(':') == std::string::npos) {
      return "--metrics " + value + ": write it as host:port, for example 127.0.0.1:9100";
    }
    if (name == "--log-format") {
      out_.logJson = value == "json";
    } else if (name == "--metrics") {
      out_.metrics = value;
    } else if (name == "--log-level") {
      out_.logLevel = value;
    } else if (name == "--log") {
      out_.logFile = value;
    } else if (name == "--worker") {
      out_.worker = value;
    }
    return {};
  }

  // mount(8) puts the two places first and always gives -o; people write flags first.
  bool calledByMount() const { return places_.size() == 2; }

  std::string finish() {
    if (places_.size() < 2) {
      return places_.empty() ? "CLUSTER_FILE and MNT are missing" : "MNT, the directory to mount on, is missing";
    }
    out_.clusterFile = places_[0];
    out_.mountPoint = places_[1];
    out_.supervised = supervise_.value_or(!out_.foreground);
    return options_.finish();
  }

  const std::vector<std::string>& words_;
  MountOptions& out_;
  OptionParser options_;
  std::vector<std::string> places_;
  size_t at_ = 0;
  bool onlyPlaces_ = false;
  std::optional<bool> supervise_;
};

std::string escaped(const std::string& text) {
  std::string out;
  for (char c : text) {
    if (c == ',' || c == '\\') {
      out += '\\';
    }
    out += c;
  }
  return out;
}

}  // namespace

std::variant<MountOptions, EarlyExit> parseCommandLine(const std::vector<std::string>& arguments, bool asRoot) {
  MountOptions options;
  options.allowOther = asRoot;
  options.defaultPermissions = true;
  CommandLine line(arguments, options);
  auto end = line.parse();
  if (auto* exit = std::get_if<EarlyExit>(&end)) {
    return *exit;
  }
  if (options.fsname.empty()) {
    options.fsname = options.clusterFile;
  }
  return options;
}

std::string libfuseOptions(const MountOptions& options) {
  std::string text = "subtype=dfs,fsname=" + escaped(options.fsname);
  text += options.readOnly ? ",ro" : "";
  text += options.allowOther ? ",allow_other" : "";
  text += options.allowRoot ? ",allow_root" : "";
  text += options.defaultPermissions ? ",default_permissions" : "";
  text += ",max_read=1048576";
  for (const std::string& flag : options.kernelFlags) {
    text += "," + flag;
  }
  return text;
}

}  // namespace cairn

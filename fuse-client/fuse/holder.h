// Holder: the process that a supervised mount belongs to. It serves nothing. It keeps the mount's FUSE descriptor and
// what a server must leave behind (kept_state.h), and starts the *worker* that serves: the program once more, with
// --worker. When the worker dies, or hands over because SIGUSR2 asks for it, the next one goes on: programs that use
// the mount wait for a moment. A successor is the program that is now at the path from which this one was started, so
// handing over after an upgrade is the upgrade; if that one doesn't come to serve, it is this process's own again.
//
// SIGTERM and SIGINT go on to the worker, which unmounts. SIGKILL ends both, and with them the mount.
#pragma once
#include <sys/types.h>

#include <string>
#include <vector>

#include "common/clock.h"
#include "fuse-client/fuse/daemon.h"
#include "fuse-client/fuse/kept_state.h"
#include "fuse-client/fuse/options.h"

namespace cairn {

// How a worker ends that has left everything to its successor.
constexpr int HANDED_OVER = 75;

// What a worker is given by its holder: descriptors, as text in --worker.
struct WorkerPlace {
  int holder = -1;  // to say that it serves
  int fuse = -1;    // the mount that it takes over; -1: it makes one
  int parent = -1;  // of Background, for the first one
  KeptState::Descriptors kept{};
};
std::string toText(const WorkerPlace& place);
// False: it isn't one.
bool parseWorkerPlace(const std::string& text, WorkerPlace& out);
// Says that the mount `fuse` is served by now.
void tellServing(const WorkerPlace& place, int fuse);

class Holder {
 public:
  Holder(const MountOptions& options, Background& background) : options_(options), background_(background) {}
  ~Holder();
  KJ_DISALLOW_COPY(Holder);

  // Until the mount is gone. The exit code.
  int run();

 private:
  // Deaths in a row so soon after the worker began to serve, or before it did, as make it pointless to go on.
  static constexpr int QUICK_MILLISECONDS = 100;
  static constexpr unsigned QUICK_DEATHS_MAX = 8;
  static constexpr int PAUSE_MILLISECONDS = 50;  // after the first quick death, then twice as long each time

  std::string prepare();
  bool spawn();
  [[noreturn]] void becomeWorker(int toHolder);
  // Until the worker has ended. Its status as of waitpid(2).
  int watch();
  void handleSignal();
  void handleMessage();
  // Whether another one shall follow.
  bool shallGoOn(int status);
  bool pauseAfter(unsigned deaths);
  int giveUp(const std::string& why);

  const MountOptions& options_;
  Background& background_;
  std::string program_;  // the path of this one's, when it began
  int own_ = -1;         // this one's image
  int signals_ = -1;
  int fuse_ = -1;
  int fromWorker_ = -1;
  std::vector<int> kept_;
  pid_t worker_ = -1;
  bool serving_ = false;
  bool wanted_ = false;  // that it hands over, as soon as it serves
  bool servedOnce_ = false;
  int64_t servingSince_ = 0;  // milliseconds
  unsigned quickDeaths_ = 0;
  bool ownImage_ = false;  // the next one is to be of it
  bool stopping_ = false;
};

}  // namespace cairn

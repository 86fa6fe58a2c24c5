// Tests provoke hundreds of warnings; a failing test says by itself what went wrong.
#include "common/log.h"

namespace cairn {
namespace {

const bool QUIET = (spdlog::set_level(spdlog::level::off), true);

}  // namespace
}  // namespace cairn

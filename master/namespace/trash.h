// The trash: what has lost its last name and is held open by nobody stays for a while, with its inode, its bytes and
// the place where it was. A file goes in alone; so does a directory that rmdir removed, empty, and what came out of it
// is found again from it. A tree that was detached goes in whole.
//
// To clients it is gone. It is charged to no directory, nothing of it is given to the chunkservers for deletion, and
// what leaves the trash takes the way of all that is deleted.
#pragma once
#include <optional>
#include <string_view>

#include "master/namespace/tables.h"

namespace cairn {

constexpr uint64_t TRASH_SECONDS_MAX = uint64_t{3650} * 24 * 3600;
constexpr size_t TRASH_PURGE_MAX = 1024;  // items in one entry
constexpr size_t TAKE_APART_MAX = 512;    // names and items of a loose tree in one entry

struct LostName;

// What to keep of an inode that has lost its last name; nothing when things deleted there aren't kept.
std::optional<TrashItem> trashItemFor(Execution& execution, const InodeRecord& inode, const LostName& lost);
// The same, kept meanwhile for an orphan.
std::optional<TrashItem> takeWill(Execution& execution, InodeId inode);
// Puts it into the trash.
void bury(Execution& execution, InodeRecord& inode, TrashItem item, bool inUse);
// The end of a directory without a name; what is still below it, or came out of it, is taken apart first, behind.
void freeDirectory(Execution& execution, InodeRecord& directory);
// Takes the name of a directory away, with all that is below it.
void detachTree(Execution& execution, InodeRecord& parent, std::string_view name, const Entry& entry,
                InodeRecord& victim);

}  // namespace cairn

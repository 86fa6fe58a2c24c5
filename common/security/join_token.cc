#include "common/security/join_token.h"

#include <cerrno>

#include "common/security/secrets.h"

namespace cairn {

namespace {

constexpr std::string_view PREFIX = "cairn1-";
constexpr size_t CHECK_BYTES = 4;
constexpr size_t DIGEST_BYTES = 32;
constexpr size_t MASTERS_MAX = 64;

// Fields of at most 64 KiB, each behind its length.
void append(std::string& out, std::string_view field) {
  out += static_cast<char>(field.size() >> 8);
  out += static_cast<char>(field.size());
  out += field;
}

bool take(std::string_view& in, std::string& field) {
  if (in.size() < 2) {
    return false;
  }
  size_t size = static_cast<size_t>(static_cast<unsigned char>(in[0])) << 8 | static_cast<unsigned char>(in[1]);
  if (in.size() < 2 + size) {
    return false;
  }
  field = in.substr(2, size);
  in.remove_prefix(2 + size);
  return true;
}

bool readFields(std::string_view in, JoinToken& token) {
  std::string name;
  if (!take(in, name) || !take(in, token.authority) || !take(in, token.secret)) {
    return false;
  }
  for (std::string master; !in.empty() && token.masters.size() < MASTERS_MAX;) {
    if (!take(in, master) || master.empty()) {
      return false;
    }
    token.masters.push_back(master);
  }
  auto parsed = parseCommonName(name);
  if (!parsed.ok() || !in.empty() || token.masters.empty()) {
    return false;
  }
  token.name = parsed.value();
  return token.authority.size() == DIGEST_BYTES && token.secret.size() == JOIN_SECRET_BYTES;
}

}  // namespace

std::string writeJoinToken(const JoinToken& token) {
  std::string fields;
  append(fields, commonName(token.name));
  append(fields, token.authority);
  append(fields, token.secret);
  for (const auto& master : token.masters) {
    append(fields, master);
  }
  fields += sha256(fields).substr(0, CHECK_BYTES);
  return std::string(PREFIX) + base64Url(fields);
}

Result<JoinToken> readJoinToken(const std::string& text) {
  const Error wrong{EINVAL, "this is no join token, or not all of one; make a new one: dfsadmin cert token"};
  std::string fields;
  if (text.size() > JOIN_TOKEN_CHARS_MAX || text.compare(0, PREFIX.size(), PREFIX) != 0 ||
      !parseBase64Url(std::string_view(text).substr(PREFIX.size()), fields) || fields.size() <= CHECK_BYTES) {
    return wrong;
  }
  std::string check = fields.substr(fields.size() - CHECK_BYTES);
  fields.resize(fields.size() - CHECK_BYTES);
  JoinToken token;
  if (sha256(fields).substr(0, CHECK_BYTES) != check || !readFields(fields, token)) {
    return wrong;
  }
  return token;
}

}  // namespace cairn

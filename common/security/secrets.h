// Secrets and digests, by OpenSSL.
#pragma once
#include <kj/array.h>

#include <string>
#include <string_view>

namespace cairn {

// From OpenSSL's generator, for what nobody may guess: the Random seam is for chance that need not be secret.
std::string secretBytes(size_t count);
std::string sha256(std::string_view bytes);
std::string hexText(std::string_view bytes);
// RFC 4648's alphabet for URLs, without padding: survives shells, mails and double clicks.
std::string base64Url(std::string_view bytes);
// False when `text` is anything that base64Url() doesn't write.
bool parseBase64Url(std::string_view text, std::string& bytes);
// Takes as long whatever the difference.
bool equalSecrets(std::string_view a, std::string_view b);

}  // namespace cairn

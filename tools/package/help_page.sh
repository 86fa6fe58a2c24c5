#!/bin/sh
# help_page.sh PROGRAM NAME SECTION PURPOSE: a manual page that is the program's --help.
set -eu
program=$1 name=$2 section=$3 purpose=$4
text=$("$program" --help)
printf '.TH %s %s "" "CairnFS" "CairnFS"\n.SH NAME\n%s \\- %s\n.SH DESCRIPTION\n.nf\n' \
  "$name" "$section" "$name" "$purpose"
printf '%s\n' "$text" | sed -e 's/\\/\\e/g' -e 's/-/\\-/g' -e "s/^\([.']\)/\\\\\&\1/"
printf '.fi\n'

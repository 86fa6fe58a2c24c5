#include "common/manual.h"

#include <vector>

namespace cairn {

namespace {

using Options = std::vector<const CLI::Option*>;
using Apps = std::vector<const CLI::App*>;

// An empty group is how CLI11 hides something.
Options shownOptions(const CLI::App& app) {
  return app.get_options([](const CLI::Option* option) { return !option->get_group().empty(); });
}

Apps shownVerbs(const CLI::App& app) {
  return app.get_subcommands([](const CLI::App* verb) { return !verb->get_group().empty(); });
}

// Of roff: a backslash is special everywhere, a dot and a quote at the beginning of a line.
std::string roff(const std::string& text) {
  std::string out;
  bool begins = true;
  for (char c : text) {
    if (begins && (c == '.' || c == '\'')) {
      out += "\\&";
    }
    out += c == '\\' ? "\\e" : c == '-' ? "\\-" : std::string(1, c);
    begins = c == '\n';
  }
  return out;
}

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  for (size_t at = text.find(from); at != text.npos; at = text.find(from, at + to.size())) {
    text.replace(at, from.size(), to);
  }
  return text;
}

// CLI11 tells the members of a set in the type's name: "TEXT:{table,json}".
std::string choicesOf(const CLI::Option& option) {
  std::string type = option.get_type_name();
  size_t begin = type.find('{'), end = type.find('}');
  bool has = begin != type.npos && end != type.npos && begin < end;
  return has ? replaced(type.substr(begin + 1, end - begin - 1), ",", " ") : "";
}

std::string valueOf(const CLI::Option& option) {
  std::string type = option.get_items_expected_max() == 0 ? "" : option.get_type_name();
  std::string choices = choicesOf(option);
  if (type.empty() || option.get_positional()) {
    return "";
  }
  return " " + (choices.empty() ? type.substr(0, type.find(':')) : replaced(choices, " ", "|"));
}

std::string optionPart(const CLI::Option& option) {
  std::string name = option.get_positional() ? option.get_name(true) : option.get_name(false, true);
  std::string text = ".TP\n\\fB" + roff(name) + "\\fR" + roff(valueOf(option)) + "\n" + roff(option.get_description());
  std::string usual = option.get_default_str();
  return text + (usual.empty() ? "" : " (default: " + roff(usual) + ")") + "\n";
}

std::string optionParts(const CLI::App& app) {
  std::string out;
  for (const auto* option : shownOptions(app)) {
    out += option == app.get_help_ptr() ? "" : optionPart(*option);
  }
  return out;
}

std::string example(const CLI::App& app) {
  std::string footer = app.get_footer();
  return footer.empty() ? "" : ".PP\n.nf\n" + roff(footer) + "\n.fi\n";
}

std::string usageOf(const CLI::App& verb, const std::string& words) {
  std::string out = "\\fB" + roff(words) + "\\fR";
  for (const auto* option : shownOptions(verb)) {
    if (option->get_positional()) {
      out += option->get_required() ? " " + roff(option->get_name(true)) : " [" + roff(option->get_name(true)) + "]";
    }
  }
  return out;
}

// A verb, or the verbs of a noun.
void addVerbs(const CLI::App& app, const std::string& words, std::string& out) {
  auto verbs = shownVerbs(app);
  for (const auto* verb : verbs) {
    std::string path = words + " " + verb->get_name();
    if (shownVerbs(*verb).empty()) {
      out += ".SS " + usageOf(*verb, path) + "\n" + roff(verb->get_description()) + "\n" + optionParts(*verb) +
             example(*verb);
    }
    addVerbs(*verb, path, out);
  }
}

// ---- completion ----

struct Level {
  std::string path;  // words so far
  const CLI::App* app = nullptr;
};

void collect(const CLI::App& app, const std::string& path, std::vector<Level>& out) {
  out.push_back({path, &app});
  for (const auto* verb : shownVerbs(app)) {
    collect(*verb, path.empty() ? verb->get_name() : path + " " + verb->get_name(), out);
  }
}

std::vector<std::string> flagNames(const CLI::Option& option) {
  std::vector<std::string> out;
  for (const auto& name : option.get_snames()) {
    out.push_back("-" + name);
  }
  for (const auto& name : option.get_lnames()) {
    out.push_back("--" + name);
  }
  return out;
}

bool takesValue(const CLI::Option& option) {
  return !option.get_positional() && option.get_items_expected_max() > 0;
}

// What may follow: verbs, options, and values of the positionals that are one of a set.
std::string wordsOf(const CLI::App& app) {
  std::string out;
  for (const auto* verb : shownVerbs(app)) {
    out += verb->get_name() + " ";
  }
  for (const auto* option : shownOptions(app)) {
    std::string more = option->get_positional() ? choicesOf(*option) : "";
    for (const auto& name : flagNames(*option)) {
      more += (more.empty() ? "" : " ") + name;
    }
    out += more.empty() ? "" : more + " ";
  }
  return out;
}

std::string bashTables(const std::vector<Level>& levels) {
  std::string words = "  local -A words=(\n", values = "  local -A values=(\n";
  for (const auto& level : levels) {
    words += "    [\"/" + level.path + "\"]=\"" + wordsOf(*level.app) + "\"\n";
    for (const auto* option : shownOptions(*level.app)) {
      for (const auto& name : takesValue(*option) ? flagNames(*option) : std::vector<std::string>()) {
        values += "    [\"/" + level.path + " " + name + "\"]=\"" + choicesOf(*option) + "\"\n";
      }
    }
  }
  return words + "  )\n" + values + "  )\n";
}

std::string zshQuoted(const std::string& text) {
  return "'" + replaced(replaced(text, "'", "'\\''"), ":", "\\:") + "'";
}

std::string firstSentence(const std::string& text) { return text.substr(0, text.find_first_of(".;\n")); }

std::string zshCase(const Level& level) {
  std::string verbs, options;
  for (const auto* verb : shownVerbs(*level.app)) {
    verbs += " " + zshQuoted(verb->get_name()) + ":" + zshQuoted(firstSentence(verb->get_description()));
  }
  for (const auto* option : shownOptions(*level.app)) {
    for (const auto& name : flagNames(*option)) {
      options += " " + zshQuoted(name) + ":" + zshQuoted(firstSentence(option->get_description()));
    }
    for (const auto& choice : option->get_positional() ? std::vector{choicesOf(*option)} : std::vector<std::string>()) {
      verbs += choice.empty() ? "" : " " + choice;
    }
  }
  return "    '/" + level.path + "') verbs=(" + verbs + ") options=(" + options + ") ;;\n";
}

std::string zshValues(const std::vector<Level>& levels) {
  std::string out;
  for (const auto& level : levels) {
    for (const auto* option : shownOptions(*level.app)) {
      for (const auto& name : takesValue(*option) ? flagNames(*option) : std::vector<std::string>()) {
        out += "    '/" + level.path + " " + name + "' '" + choicesOf(*option) + "'\n";
      }
    }
  }
  return out;
}

}  // namespace

std::string manualPage(const CLI::App& app, const std::string& program, const std::string& version) {
  std::string description = app.get_description();
  std::string out = ".TH " + program + " 8 \"\" \"CairnFS " + version + "\" \"CairnFS\"\n.SH NAME\n" + roff(program) +
                    " \\- " + roff(firstSentence(description)) + "\n.SH SYNOPSIS\n\\fB" + roff(program) +
                    "\\fR [OPTIONS]" + (shownVerbs(app).empty() ? "" : " NOUN VERB") + "\n.SH DESCRIPTION\n" +
                    roff(description) + "\n.SH OPTIONS\n" + optionParts(app);
  std::string verbs;
  addVerbs(app, program, verbs);
  if (!verbs.empty()) {
    out += ".SH VERBS\n" + verbs;
  }
  std::string shown = example(app);
  return out + (shown.empty() ? "" : ".SH EXAMPLE\n" + shown);
}

void addManual(CLI::App& app, const std::string& program, const std::string& version) {
  auto print = [&app, program, version]() { throw CLI::CallForVersion(manualPage(app, program, version), 0); };
  app.add_flag_callback("--man", print)->group("");
}

std::string bashCompletion(const CLI::App& app, const std::string& program) {
  std::vector<Level> levels;
  collect(app, "", levels);
  return "# Completion of " + program + " for bash; made by `" + program + " completion bash`.\n_" + program +
         "() {\n" + bashTables(levels) + R"(  local current=${COMP_WORDS[COMP_CWORD]} before='' path='' word i
  for ((i = 1; i < COMP_CWORD; i++)); do
    word=${COMP_WORDS[i]}
    if [[ -n $before && ( -v values["/$path $before"] || -v values["/ $before"] ) ]]; then
      before=''
      continue
    fi
    before=$word
    if [[ $word != -* && -v words["/${path:+$path }$word"] ]]; then
      path="${path:+$path }$word"
    fi
  done
  COMPREPLY=()
  for word in "/$path $before" "/ $before"; do
    if [[ -n $before && -v values["$word"] ]]; then
      [[ -n ${values["$word"]} ]] && mapfile -t COMPREPLY < <(compgen -W "${values["$word"]}" -- "$current")
      return
    fi
  done
  mapfile -t COMPREPLY < <(compgen -W "${words["/$path"]}" -- "$current")
}
complete -o bashdefault -o default -F _)" + program + " " + program + "\n";
}

std::string zshCompletion(const CLI::App& app, const std::string& program) {
  std::vector<Level> levels;
  collect(app, "", levels);
  std::string cases, paths;
  for (const auto& level : levels) {
    cases += zshCase(level);
    paths += " '/" + level.path + "' 1";
  }
  return "#compdef " + program + "\n# Completion of " + program + " for zsh; made by `" + program +
         " completion zsh`.\n_" + program + "() {\n  local -A known values\n  known=(" + paths + ")\n  values=(\n" +
         zshValues(levels) + R"(  )
  local path='' before='' word key
  local -a verbs options
  for word in ${words[2,CURRENT-1]}; do
    if [[ -n $before && ( -n ${values[(I)/$path $before]} || -n ${values[(I)/ $before]} ) ]]; then
      before=''
      continue
    fi
    before=$word
    [[ $word != -* && -n ${known[(I)/${path:+$path }$word]} ]] && path="${path:+$path }$word"
  done
  for key in "/$path $before" "/ $before"; do
    if [[ -n $before && -n ${values[(I)$key]} ]]; then
      if [[ -n ${values[$key]} ]]; then compadd -- ${=values[$key]}; else _files; fi
      return
    fi
  done
  case "/$path" in
)" + cases + R"(  esac
  if [[ ${words[CURRENT]} == -* ]]; then
    _describe -o option options
  elif (( ${#verbs} )); then
    _describe verb verbs
  else
    _files
  fi
}
_)" + program + " \"$@\"\n";
}

}  // namespace cairn

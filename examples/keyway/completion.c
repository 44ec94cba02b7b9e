/* SPDX-License-Identifier: BSD-3-Clause */
/* completion: what a shell is told of the subcommands and their options. */
#include "program.h"

#include <err.h>
#include <stdlib.h>
#include <string.h>

/* The options that a usage text names, with a space before each. */
static void put_options(FILE *out, const char *usage)
{
    for (const char *at = strstr(usage, "--"); at != NULL; at = strstr(at + 2, "--")) {
        fprintf(out, " %.*s", (int)strcspn(at, " ]"), at);
    }
}

/* Bash makes several words of a URI, as of all that has a colon or an equals sign in it. */
static void put_bash(FILE *out)
{
    const subcommand *at;
    fprintf(out, "# keyway completion bash\n_keyway()\n{\n"
                 "    local word=${COMP_WORDS[COMP_CWORD]} i command=\n"
                 "    for ((i = 1; i < COMP_CWORD; i++)); do\n"
                 "        case ${COMP_WORDS[i]} in\n"
                 "        -u | --uri | --color | --node)\n"
                 "            ((i++))\n"
                 "            [[ ${COMP_WORDS[i]} == [=] ]] && ((i++))\n"
                 "            while [[ ${COMP_WORDS[i + 1]} == [:=]* ]]; do ((i += 2)); done ;;\n"
                 "        -*) ;;\n"
                 "        *) command=${COMP_WORDS[i]}; break ;;\n"
                 "        esac\n    done\n    case $command in\n");
    fprintf(out, "    '') COMPREPLY=($(compgen -W \"-u --uri --json --color --node");
    for (size_t i = 0; (at = subcommand_at(i)) != NULL; i++) {
        fprintf(out, " %s", at->name);
    }
    fprintf(out, "\" -- \"$word\")) ;;\n");
    for (size_t i = 0; (at = subcommand_at(i)) != NULL; i++) {
        fprintf(out, "    %s) COMPREPLY=($(compgen -W \"--json", at->name);
        put_options(out, at->usage);
        fprintf(out, "%s\" -- \"$word\")) ;;\n",
                strcmp(at->name, "whatif") == 0       ? " add remove reweight"
                : strcmp(at->name, "completion") == 0 ? " bash zsh"
                                                      : "");
    }
    fprintf(out, "    esac\n}\ncomplete -F _keyway keyway\n");
}

/* A text inside of a quotation: an apostrophe ends it, and begins it anew. */
static void put_quoted(FILE *out, const char *text)
{
    for (; *text != '\0'; text++) {
        if (*text == '\'') {
            fputs("'\\''", out);
        } else {
            fputc(*text, out);
        }
    }
}

static void put_zsh(FILE *out)
{
    const subcommand *at;
    fprintf(out, "#compdef keyway\n_keyway()\n{\n    local -a commands\n    commands=(\n");
    for (size_t i = 0; (at = subcommand_at(i)) != NULL; i++) {
        fprintf(out, "        '%s:", at->name);
        put_quoted(out, at->help);
        fprintf(out, "'\n");
    }
    fprintf(
        out,
        "    )\n    _arguments -C '(-u --uri)'{-u,--uri}'[whom to ask]:URI:' '--json[as JSON]' \\\n"
        "        '--color[colours]:when:(always never auto)' '--node[for this one]:node:' \\\n"
        "        '1:command:->command' "
        "'*::argument:->argument'\n"
        "    case $state in\n    command) _describe command commands ;;\n"
        "    argument)\n        case $words[1] in\n");
    for (size_t i = 0; (at = subcommand_at(i)) != NULL; i++) {
        fprintf(out, "        %s) compadd -- --json", at->name);
        put_options(out, at->usage);
        fprintf(out, " ;;\n");
    }
    fprintf(out, "        esac ;;\n    esac\n}\n_keyway \"$@\"\n");
}

int run_completion(app *self)
{
    if (!args_end(self, 1, 1)) {
        return STATUS_USAGE;
    }
    bool is_bash = strcmp(self->argv[0], "bash") == 0;
    if (!is_bash && strcmp(self->argv[0], "zsh") != 0) {
        return args_usage(self, "%s: no such shell", self->argv[0]);
    }
    char *script = NULL;
    size_t script_len = 0;
    FILE *out = open_memstream(&script, &script_len);
    if (out != NULL) {
        (is_bash ? put_bash : put_zsh)(out);
    }
    if (out == NULL || fclose(out) != 0) {
        err(STATUS_USAGE, "memory");
    }
    json_open(self);
    json_text(self, "shell", self->argv[0]);
    json_text(self, "script", script);
    json_close(self);
    say(self, "%s", script);
    free(script);
    return STATUS_GOOD;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* completion: what a shell is told of the subcommands and their options. */
#include "program.h"

#include <string.h>

/* Prints the options that a usage text names, with a space before each. */
static void put_options(const char *usage)
{
    for (const char *at = strstr(usage, "--"); at != NULL; at = strstr(at + 2, "--")) {
        printf(" %.*s", (int)strcspn(at, " ]"), at);
    }
}

static void put_bash(void)
{
    const subcommand *at;
    printf("# keyway completion bash\n_keyway()\n{\n"
           "    local word=${COMP_WORDS[COMP_CWORD]} i command=\n"
           "    for ((i = 1; i < COMP_CWORD; i++)); do\n"
           "        case ${COMP_WORDS[i]} in\n"
           "        -u | --uri | --color) ((i++)) ;;\n"
           "        -*) ;;\n"
           "        *) command=${COMP_WORDS[i]}; break ;;\n"
           "        esac\n    done\n    case $command in\n");
    printf("    '') COMPREPLY=($(compgen -W \"-u --uri --json --color");
    for (size_t i = 0; (at = subcommand_at(i)) != NULL; i++) {
        printf(" %s", at->name);
    }
    printf("\" -- \"$word\")) ;;\n");
    for (size_t i = 0; (at = subcommand_at(i)) != NULL; i++) {
        printf("    %s) COMPREPLY=($(compgen -W \"--json", at->name);
        put_options(at->usage);
        printf("%s\" -- \"$word\")) ;;\n", strcmp(at->name, "whatif") == 0 ? " add remove reweight"
                                           : strcmp(at->name, "completion") == 0 ? " bash zsh"
                                                                                 : "");
    }
    printf("    esac\n}\ncomplete -F _keyway keyway\n");
}

static void put_zsh(void)
{
    const subcommand *at;
    printf("#compdef keyway\n_keyway()\n{\n    local -a commands\n    commands=(\n");
    for (size_t i = 0; (at = subcommand_at(i)) != NULL; i++) {
        printf("        '%s:%s'\n", at->name, at->help);
    }
    printf(
        "    )\n    _arguments -C '(-u --uri)'{-u,--uri}'[whom to ask]:URI:' '--json[as JSON]' \\\n"
        "        '--color[colours]:when:(always never auto)' '1:command:->command' "
        "'*::argument:->argument'\n"
        "    case $state in\n    command) _describe command commands ;;\n"
        "    argument)\n        case $words[1] in\n");
    for (size_t i = 0; (at = subcommand_at(i)) != NULL; i++) {
        printf("        %s) compadd -- --json", at->name);
        put_options(at->usage);
        printf(" ;;\n");
    }
    printf("        esac ;;\n    esac\n}\n_keyway \"$@\"\n");
}

int run_completion(app *self)
{
    if (!args_end(self, 1, 1)) {
        return STATUS_USAGE;
    }
    if (strcmp(self->argv[0], "bash") == 0) {
        put_bash();
    } else if (strcmp(self->argv[0], "zsh") == 0) {
        put_zsh();
    } else {
        return args_usage(self, "%s: no such shell", self->argv[0]);
    }
    return STATUS_GOOD;
}

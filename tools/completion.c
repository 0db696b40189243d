/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "tools/completion.h"

#include <string.h>

#include "tools/verb.h"

/* Kind of the I-th operand of V as its table says it, into BUF; or "". */
static const char *operand_kind(const struct verb *v, unsigned i, char buf[16])
{
	const char *p = v->complete ? v->complete : "";
	size_t len = strcspn(p, " ");

	for (; i > 0 && p[len]; i--) {
		p += len + 1;
		len = strcspn(p, " ");
	}
	snprintf(buf, 16, "%.*s", (int)len, p);
	return buf;
}

static void print_verbs(FILE *to)
{
	for (const struct verb *const *v = verbs; *v; v++)
		fprintf(to, "%s%s", v == verbs ? "" : " ", (*v)->name);
}

/* Calls FN for the options of V and the global ones. */
static void each_option(FILE *to, const struct verb *v,
	void (*fn)(FILE *to, const struct verb *v, const struct cli_option *o))
{
	for (const struct cli_option *o = v->options; o && o->name; o++)
		fn(to, v, o);
	for (const struct cli_option *o = cli_global_options; o->name; o++)
		fn(to, v, o);
}

static void bash_option(
	FILE *to, const struct verb *v, const struct cli_option *o)
{
	(void)v;
	if (o->letter)
		fprintf(to, "-%c ", o->letter);
	fprintf(to, "--%s ", o->name);
}

static bool is_path(const struct cli_option *o)
{
	return strcmp(o->arg, "REPOSITORY") == 0 || strcmp(o->arg, "FILE") == 0;
}

/* What follows an option that has an argument. */
static void bash_value(
	FILE *to, const struct verb *v, const struct cli_option *o)
{
	if (!o->arg)
		return;
	fprintf(to, "\t%s:--%s", v->name, o->name);
	if (o->letter)
		fprintf(to, " | %s:-%c", v->name, o->letter);
	if (o->words)
		fprintf(to, ") words='%s' ;;\n", o->words);
	else if (is_path(o))
		fprintf(to, ") kind=file ;;\n");
	else
		fprintf(to, ") return ;;\n");
}

static const char bash_head[] =
	"# bash completion for hivefs; made by: hivefs completion bash\n"
	"\n"
	"# @ and : separate words for bash, but not for hivefs\n"
	"_hivefs_reply() {\n"
	"\tlocal cur=$1 cut\n"
	"\tmapfile -t COMPREPLY < <(compgen -W \"$2\" -- \"$cur\")\n"
	"\tcut=${cur%\"${cur##*[@:=]}\"}\n"
	"\tCOMPREPLY=(\"${COMPREPLY[@]#\"$cut\"}\")\n"
	"}\n"
	"\n"
	"# VERB TYPE FIELD, of what it lists\n"
	"_hivefs_ask() {\n"
	"\thivefs $1 --json \"${repo[@]}\" 2>/dev/null |\n"
	"\t\tsed -n 's/^{\"type\":\"'\"$2\"'\".*\"'\"$3\"'\":\"\\([^\"]*\\)"
	"\".*/\\1/p' |\n"
	"\t\tsort -u\n"
	"}\n"
	"\n"
	"_hivefs() {\n"
	"\tlocal cur prev words kind options verb= n=0 i repo=()\n"
	"\tCOMPREPLY=()\n"
	"\tlocal line=${COMP_LINE:0:COMP_POINT} all\n"
	"\tread -ra all <<<\"$line\"\n"
	"\t[[ $line != *[[:space:]] ]] || all+=('')\n"
	"\tcur=${all[-1]}\n"
	"\tprev=${all[-2]-}\n"
	"\tfor ((i = 1; i < ${#all[@]} - 1; i++)); do\n"
	"\t\tcase ${all[i]} in\n"
	"\t\t-r | --repo) repo=(-r \"${all[++i]}\") ;;\n"
	"\t\t--repo=*) repo=(\"${all[i]}\") ;;\n"
	"\t\t-*) ;;\n"
	"\t\t*) if [ -z \"$verb\" ]; then verb=${all[i]}; else n=$((n + 1)); "
	"fi ;;\n"
	"\t\tesac\n"
	"\tdone\n"
	"\twords= kind= options=\n";

static const char bash_tail[] =
	"\tif [[ -z $words && $kind != file && $cur == -* ]]; then\n"
	"\t\twords=$options\n"
	"\telif [ -z \"$words\" ]; then\n"
	"\t\tcase $kind in\n"
	"\t\tmachine) words=$(_hivefs_ask points point machine) ;;\n"
	"\t\taddress) words=$(_hivefs_ask points point address) ;;\n"
	"\t\tclone) words=$(_hivefs_ask clones clone clone) ;;\n"
	"\t\tshell) words='bash zsh fish' ;;\n"
	"\t\tverb) words=$verbs ;;\n"
	"\t\tfile)\n"
	"\t\t\tmapfile -t COMPREPLY < <(compgen -f -- \"${cur##*=}\")\n"
	"\t\t\tcompopt -o filenames\n"
	"\t\t\treturn\n"
	"\t\t\t;;\n"
	"\t\tesac\n"
	"\tfi\n"
	"\t_hivefs_reply \"$cur\" \"$words\"\n"
	"}\n"
	"complete -F _hivefs hivefs\n";

static void bash_operands(FILE *to, const struct verb *v)
{
	char first[16], rest[16];

	operand_kind(v, 0, first);
	operand_kind(v, 1, rest);
	if (strcmp(first, rest) == 0)
		fprintf(to, "kind=%s", first);
	else
		fprintf(to, "[ $n = 0 ] && kind=%s || kind=%s", first, rest);
}

void completion_bash(FILE *to)
{
	fputs(bash_head, to);
	fprintf(to, "\tlocal verbs='");
	print_verbs(to);
	fprintf(to, "'\n\tcase $verb in\n"
		    "\t'') words=$verbs ;;\n");
	for (const struct verb *const *v = verbs; *v; v++) {
		fprintf(to, "\t%s) options='", (*v)->name);
		each_option(to, *v, bash_option);
		fprintf(to, "'; ");
		bash_operands(to, *v);
		fprintf(to, " ;;\n");
	}
	/* no verb is a mount point */
	fprintf(to, "\t*) kind=file ;;\n\tesac\n\tcase $verb:$prev in\n");
	for (const struct verb *const *v = verbs; *v; v++)
		each_option(to, *v, bash_value);
	fprintf(to, "\tesac\n");
	fputs(bash_tail, to);
}

/* TEXT inside single quotes, with what zsh gives a meaning to taken away. */
static void print_quoted(FILE *to, const char *text)
{
	for (; *text; text++) {
		if (*text == '\'')
			fputs("'\\''", to);
		else if (strchr("[]:", *text))
			fprintf(to, "\\%c", *text);
		else
			fputc(*text, to);
	}
}

static const char *zsh_action(const char *kind)
{
	static const char *const actions[][2] = {
		{ "file", "_files" },
		{ "machine", " _hivefs_ask points point machine" },
		{ "address", " _hivefs_ask points point address" },
		{ "clone", " _hivefs_ask clones clone clone" },
		{ "shell", "(bash zsh fish)" },
		{ "verb", "_hivefs_verbs" },
	};

	for (size_t i = 0; i < sizeof(actions) / sizeof(actions[0]); i++)
		if (strcmp(actions[i][0], kind) == 0)
			return actions[i][1];
	return " ";
}

static void zsh_option(
	FILE *to, const struct verb *v, const struct cli_option *o)
{
	const char *action = o->arg && is_path(o) ? "_files" : " ";

	(void)v;
	fprintf(to, " \\\n\t\t\t");
	if (o->letter)
		fprintf(to, "'(-%c --%s)'{-%c,--%s%s}'[", o->letter, o->name,
			o->letter, o->name, o->arg ? "=" : "");
	else
		fprintf(to, "'--%s%s[", o->name, o->arg ? "=" : "");
	print_quoted(to, o->help);
	fprintf(to, "]");
	if (o->words)
		fprintf(to, ":value:(%s)", o->words);
	else if (o->arg)
		fprintf(to, ":value:%s", action);
	fprintf(to, "'");
}

static void zsh_verb(FILE *to, const struct verb *v)
{
	char first[16], rest[16];

	operand_kind(v, 0, first);
	operand_kind(v, 1, rest);
	fprintf(to, "\t\t%s)\n\t\t\t_arguments -s", v->name);
	each_option(to, v, zsh_option);
	if (*first)
		fprintf(to, " \\\n\t\t\t'1:%s:%s'", first, zsh_action(first));
	if (*first && v->max > 1)
		fprintf(to, " \\\n\t\t\t'*:%s:%s'", rest, zsh_action(rest));
	fprintf(to, "\n\t\t\t;;\n");
}

void completion_zsh(FILE *to)
{
	fputs("#compdef hivefs\n"
	      "# zsh completion for hivefs; made by: hivefs completion zsh\n\n"
	      "_hivefs_verbs() {\n\tlocal -a verbs=(\n",
		to);
	for (const struct verb *const *v = verbs; *v; v++) {
		fprintf(to, "\t\t'%s:", (*v)->name);
		print_quoted(to, (*v)->summary);
		fprintf(to, "'\n");
	}
	fputs("\t)\n\t_describe verb verbs\n}\n\n"
	      "_hivefs_ask() {\n"
	      "\tlocal -a found\n"
	      "\tfound=(${(fu)\"$(hivefs $1 --json ${repo:+-r$repo} "
	      "2>/dev/null |\n"
	      "\t\tsed -n 's/^{\"type\":\"'$2'\".*\"'$3'\":\"\\([^\"]*\\)\".*/"
	      "\\1/p')\"})\n"
	      "\tcompadd -a found\n}\n\n"
	      "_hivefs() {\n"
	      "\tlocal context state state_descr line\n"
	      "\ttypeset -A opt_args\n"
	      "\tlocal repo i\n"
	      "\tfor ((i = 1; i < CURRENT; i++)); do\n"
	      "\t\tcase $words[i] in\n"
	      "\t\t-r | --repo) repo=$words[i+1] ;;\n"
	      "\t\t--repo=*) repo=${words[i]#--repo=} ;;\n"
	      "\t\tesac\n"
	      "\tdone\n"
	      "\t_arguments -C -A '-*' '(-r "
	      "--repo)'{-r,--repo=}'[repository]:value:"
	      "_files' '1: :->verb' '*:: :->rest'\n"
	      "\tcase $state in\n"
	      "\tverb) _hivefs_verbs; _directories ;;\n"
	      "\trest)\n"
	      "\t\tcase $line[1] in\n",
		to);
	for (const struct verb *const *v = verbs; *v; v++)
		zsh_verb(to, *v);
	fputs("\t\t*) _files ;;\n\t\tesac\n\t\t;;\n\tesac\n}\n\n"
	      "_hivefs \"$@\"\n",
		to);
}

/* TEXT inside fish's single quotes */
static void print_fish(FILE *to, const char *text)
{
	for (; *text; text++)
		fprintf(to, "%s%c", strchr("'\\", *text) ? "\\" : "", *text);
}

static void fish_option(
	FILE *to, const struct verb *v, const struct cli_option *o)
{
	fprintf(to, "complete -c hivefs -n '__fish_seen_subcommand_from %s' ",
		v->name);
	if (o->letter)
		fprintf(to, "-s %c ", o->letter);
	fprintf(to, "-l %s ", o->name);
	if (o->words)
		fprintf(to, "-x -a '%s' ", o->words);
	else if (o->arg)
		fprintf(to, is_path(o) ? "-rF " : "-x ");
	fprintf(to, "-d '");
	print_fish(to, o->help);
	fprintf(to, "'\n");
}

static void fish_operand(FILE *to, const struct verb *v, unsigned i)
{
	char kind[16];

	operand_kind(v, i, kind);
	if (!*kind || strcmp(kind, "none") == 0)
		return;
	fprintf(to, "complete -c hivefs -n '__fish_seen_subcommand_from %s' ",
		v->name);
	if (strcmp(kind, "file") == 0)
		fprintf(to, "-F\n");
	else if (strcmp(kind, "shell") == 0)
		fprintf(to, "-f -a 'bash zsh fish'\n");
	else if (strcmp(kind, "verb") == 0)
		fprintf(to, "-f -a '(__hivefs_verbs)'\n");
	else if (strcmp(kind, "clone") == 0)
		fprintf(to, "-f -a '(__hivefs_ask clones clone clone)'\n");
	else
		fprintf(to, "-f -a '(__hivefs_ask points point %s)'\n", kind);
}

void completion_fish(FILE *to)
{
	fputs("# fish completion for hivefs; made by: hivefs completion "
	      "fish\n\n"
	      "function __hivefs_verbs\n"
	      "\tprintf '%s\\n' ",
		to);
	print_verbs(to);
	fputs("\nend\n\n"
	      "function __hivefs_ask\n"
	      "\tset -l repo\n"
	      "\tset -l next\n"
	      "\tfor word in (commandline -opc)\n"
	      "\t\tif set -q next[1]\n"
	      "\t\t\tset repo -r $word\n"
	      "\t\t\tset next\n"
	      "\t\telse if contains -- $word -r --repo\n"
	      "\t\t\tset next 1\n"
	      "\t\telse if string match -q -- '--repo=*' $word\n"
	      "\t\t\tset repo $word\n"
	      "\t\tend\n"
	      "\tend\n"
	      "\thivefs $argv[1] --json $repo 2>/dev/null |\n"
	      "\t\tstring match -rg "
	      "'^\\{\"type\":\"'$argv[2]'\".*\"'$argv[3]'\":\"([^\"]*)\"' "
	      "|\n"
	      "\t\tsort -u\n"
	      "end\n\n",
		to);
	for (const struct verb *const *v = verbs; *v; v++) {
		fprintf(to,
			"complete -c hivefs -n __fish_use_subcommand "
			"-a %s -d '",
			(*v)->name);
		print_fish(to, (*v)->summary);
		fprintf(to, "'\n");
		each_option(to, *v, fish_option);
		fish_operand(to, *v, 0);
		if ((*v)->max > 1)
			fish_operand(to, *v, 1);
	}
}

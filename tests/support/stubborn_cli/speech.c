#define _GNU_SOURCE
#include "speech.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

/* One vendor: its lines as templates. $t the text as it is, $j the same in JSON, $s a session id;
   of a rate limit: $r its end (epoch seconds), $n seconds until then, $h the same as 1h2m3s,
   $c its end as claude says it, $x as codex, $u as cursor. `between` parts two messages; `error_code` is the exit
   code after an error. */
struct vendor {
    const char *name, *start, *message, *between, *done, *failed, *limited, *tool_head, *tool_tail;
    int error_fd, error_code;
};

#define CLAUDE_MESSAGE \
    "{\"type\":\"assistant\",\"message\":{\"role\":\"assistant\",\"content\":[{\"type\":\"text\",\"text\":\"$j\"}]}," \
    "\"parent_tool_use_id\":null,\"session_id\":\"$s\"}\n"
#define RESULT(subtype, error) \
    "{\"type\":\"result\",\"subtype\":\"" subtype "\",\"is_error\":" error ",\"duration_ms\":12,\"num_turns\":1," \
    "\"result\":\"$j\",\"session_id\":\"$s\"}\n"

static const struct vendor vendors[] = {
    {.name = "text", .message = "$t\n", .failed = "$t\n", .limited = "Error: 429: rate limit reached, retry in $n s\n",
     .error_fd = 2, .error_code = 1},
    {.name = "tinytown", .message = "$t\n", .done = "tinytown-outcome: {\"kind\": \"ok\"}\n",
     .failed = "tinytown-outcome: {\"kind\": \"crashed\", \"detail\": \"$j\"}\n",
     .limited = "tinytown-outcome: {\"kind\": \"rate_limited\", \"until\": $r, \"detail\": \"quota used up\"}\n",
     .error_fd = 1, .error_code = 1},
    {.name = "aider", .message = "$t\n", .done = "\nTokens: 1.2k sent, 35 received.\n",
     .failed = "litellm.APIError: APIError: $t\n", .error_fd = 1, .error_code = 0,
     .limited = "litellm.RateLimitError: RateLimitError: OpenAIException - Rate limit reached. "
                "Please try again in $n s.\nThe API provider has rate limited you. Try again later.\n"},
    {.name = "claude-json",
     .start = "{\"type\":\"system\",\"subtype\":\"init\",\"cwd\":\".\",\"session_id\":\"$s\",\"tools\":[\"Bash\"],"
              "\"model\":\"stub\",\"permissionMode\":\"bypassPermissions\"}\n",
     .message = CLAUDE_MESSAGE, .done = RESULT("success", "false"), .failed = RESULT("success", "true"),
     .limited = "{\"type\":\"rate_limit_event\",\"rate_limit_info\":{\"status\":\"rejected\",\"resetsAt\":$r,"
                "\"rateLimitType\":\"five_hour\",\"isUsingOverage\":false},\"session_id\":\"$s\"}\n"
                "{\"type\":\"assistant\",\"error\":\"rate_limit\",\"session_id\":\"$s\",\"message\":{\"content\":["
                "{\"type\":\"text\",\"text\":\"You've hit your limit · resets $c\"}]}}\n"
                "{\"type\":\"result\",\"subtype\":\"success\",\"is_error\":true,\"duration_ms\":155,\"num_turns\":1,"
                "\"result\":\"You've hit your limit · resets $c\",\"session_id\":\"$s\",\"total_cost_usd\":0}\n",
     .tool_head = "{\"type\":\"user\",\"session_id\":\"$s\",\"message\":{\"role\":\"user\",\"content\":["
                  "{\"type\":\"tool_result\",\"tool_use_id\":\"t1\",\"content\":\"",
     .tool_tail = "\"}]}}\n", .error_fd = 1, .error_code = 1},
    {.name = "codex-json",
     .start = "{\"type\":\"thread.started\",\"thread_id\":\"$s\"}\n{\"type\":\"turn.started\"}\n",
     .message = "{\"type\":\"item.completed\",\"item\":{\"id\":\"item_1\",\"type\":\"agent_message\",\"text\":\"$j\"}}\n",
     .done = "{\"type\":\"turn.completed\",\"usage\":{\"input_tokens\":9,\"cached_input_tokens\":0,\"output_tokens\":3}}\n",
     .failed = "{\"type\":\"error\",\"message\":\"$j\"}\n{\"type\":\"turn.failed\",\"error\":{\"message\":\"$j\"}}\n",
     .limited = "{\"type\":\"error\",\"message\":\"You've hit your usage limit. Visit https://chatgpt.com/codex/settings/usage or try again $x.\"}\n"
                "{\"type\":\"turn.failed\",\"error\":{\"message\":\"You've hit your usage limit. Visit https://chatgpt.com/codex/settings/usage or try again $x.\"}}\n",
     .tool_head = "{\"type\":\"item.completed\",\"item\":{\"id\":\"item_2\",\"type\":\"command_execution\","
                  "\"command\":\"cat big\",\"exit_code\":0,\"status\":\"completed\",\"aggregated_output\":\"",
     .tool_tail = "\"}}\n", .error_fd = 1, .error_code = 1},
    {.name = "gemini-json",
     .start = "{\"type\":\"init\",\"timestamp\":\"2026-01-02T03:04:05.000Z\",\"session_id\":\"$s\",\"model\":\"stub\"}\n",
     .message = "{\"type\":\"message\",\"role\":\"assistant\",\"content\":\"$j\",\"delta\":true}\n",
     .between = "{\"type\":\"tool_use\",\"tool_name\":\"list\",\"tool_id\":\"l1\",\"parameters\":{}}\n"
                "{\"type\":\"tool_result\",\"tool_id\":\"l1\",\"status\":\"success\",\"output\":\"\"}\n",
     .done = "{\"type\":\"result\",\"status\":\"success\",\"stats\":{\"total_tokens\":12}}\n",
     .failed = "{\"type\":\"result\",\"status\":\"error\",\"error\":{\"type\":\"Error\",\"message\":\"$j\"}}\n",
     .limited = "{\"type\":\"result\",\"status\":\"error\",\"error\":{\"type\":\"TerminalQuotaError\",\"message\":"
                "\"You have exhausted your capacity on this model. Your quota will reset after $h.\"}}\n",
     .tool_head = "{\"type\":\"tool_result\",\"tool_id\":\"r1\",\"status\":\"success\",\"output\":\"",
     .tool_tail = "\"}\n", .error_fd = 1, .error_code = 1},
    {.name = "cursor-json",
     .start = "{\"type\":\"system\",\"subtype\":\"init\",\"apiKeySource\":\"env\",\"cwd\":\".\",\"session_id\":\"$s\","
              "\"model\":\"stub\",\"permissionMode\":\"default\"}\n",
     .message = CLAUDE_MESSAGE, .done = RESULT("success", "false"), .failed = RESULT("error", "true"),
     .limited = "{\"type\":\"result\",\"subtype\":\"error\",\"is_error\":true,\"result\":"
                "\"You've hit your usage limit. $u\",\"session_id\":\"$s\"}\n",
     .tool_head = "{\"type\":\"tool_call\",\"subtype\":\"completed\",\"session_id\":\"$s\",\"tool_call\":{"
                  "\"readToolCall\":{\"result\":{\"success\":{\"content\":\"",
     .tool_tail = "\"}}}}}\n", .error_fd = 1, .error_code = 1},
    {.name = "auggie-json",
     .done = RESULT("success", "false"), .failed = RESULT("error", "true"),
     .limited = "{\"type\":\"result\",\"is_error\":true,\"result\":\"429 Too Many Requests: retry after $n s\"}\n",
     .error_fd = 1, .error_code = 1},
    {.name = "opencode-json",
     .start = "{\"type\":\"step_start\",\"sessionID\":\"$s\",\"part\":{\"type\":\"step-start\"}}\n",
     .message = "{\"type\":\"text\",\"sessionID\":\"$s\",\"part\":{\"type\":\"text\",\"text\":\"$j\"}}\n",
     .done = "{\"type\":\"step_finish\",\"sessionID\":\"$s\",\"part\":{\"type\":\"step-finish\",\"reason\":\"stop\"}}\n",
     .failed = "{\"type\":\"error\",\"sessionID\":\"$s\",\"error\":{\"name\":\"UnknownError\","
               "\"data\":{\"message\":\"$j\"}}}\n",
     .limited = "{\"type\":\"error\",\"sessionID\":\"$s\",\"error\":{\"name\":\"APIError\",\"data\":{\"message\":"
                "\"Too Many Requests\",\"statusCode\":429,\"isRetryable\":true,\"responseHeaders\":{\"retry-after\":"
                "\"$n\"}}}}\n",
     .tool_head = "{\"type\":\"tool_use\",\"sessionID\":\"$s\",\"part\":{\"type\":\"tool\",\"tool\":\"bash\","
                  "\"state\":{\"status\":\"completed\",\"input\":{\"command\":\"cat big\"},\"output\":\"",
     .tool_tail = "\"}}}\n", .error_fd = 1, .error_code = 1},
    {.name = "copilot-json",
     .start = "{\"type\":\"session.start\",\"data\":{\"sessionId\":\"$s\",\"selectedModel\":\"stub\"}}\n",
     .message = "{\"type\":\"assistant.message\",\"data\":{\"messageId\":\"m1\",\"content\":\"$j\"}}\n",
     .done = "{\"type\":\"result\",\"sessionId\":\"$s\",\"exitCode\":0}\n",
     .failed = "{\"type\":\"session.error\",\"data\":{\"errorType\":\"query\",\"message\":\"$j\"}}\n"
               "{\"type\":\"result\",\"sessionId\":\"$s\",\"exitCode\":1}\n",
     .limited = "{\"type\":\"session.error\",\"data\":{\"errorType\":\"rate_limit\",\"statusCode\":429,\"message\":"
                "\"Sorry, you've hit a rate limit. Please retry after $n seconds.\"}}\n"
                "{\"type\":\"result\",\"sessionId\":\"$s\",\"exitCode\":1}\n",
     .tool_head = "{\"type\":\"tool.execution_complete\",\"data\":{\"toolCallId\":\"t1\",\"success\":true,"
                  "\"result\":{\"content\":\"",
     .tool_tail = "\"}}}\n", .error_fd = 1, .error_code = 1},
};

static const struct vendor *vendor;
static char *answer;
static int said, ended, closed, in_pieces;

/* Until the other side has taken what is in the pipe: so each byte is read apart. */
static void await_reader(void) {
    struct timespec moment = {0, 50000};
    int left;
    for (int turn = 0; turn < 20000 && !ioctl(1, FIONREAD, &left) && left > 0; turn++) nanosleep(&moment, NULL);
}

static void put_to(int fd, const char *data, size_t size) {
    while (size > 0 && !closed) {
        ssize_t written = write(fd, data, in_pieces ? 1 : size);
        if (written < 0 && errno != EINTR) exit(98);
        if (written > 0 && in_pieces && *data & 0x80) await_reader();
        if (written > 0) data += written, size -= written;
    }
}

void put(const char *data, size_t size) { put_to(1, data, size); }

static void escaped(FILE *out, const char *text) {
    for (; *text; text++) {
        if (*text == '"' || *text == '\\') fprintf(out, "\\%c", *text);
        else if ((unsigned char)*text < 32) fprintf(out, "\\u%04x", *text);
        else putc(*text, out);
    }
}

/* As strftime has it, in local time. */
static void local(FILE *out, const char *format, time_t at) {
    char made[64];
    strftime(made, sizeof made, format, localtime(&at));
    fputs(made, out);
}

static void as_codex(FILE *out, long seconds, time_t until) {
    if (seconds < 60) fprintf(out, "in %ld seconds", seconds);
    else if (seconds < 12 * 3600) local(out, "at %-I:%M %p", until);
    else local(out, "at %b %-dth, %Y %-I:%M %p", until);
}

static void as_cursor(FILE *out, long seconds, time_t until) {
    if (seconds < 2 * 86400) fprintf(out, "Try again in %ld minutes %ld seconds.", seconds / 60, seconds % 60);
    else local(out, "Usage will reset when your monthly cycle ends on %-m/%-d/%Y.", until);
}

/* The template's text; the caller frees it. */
static char *filled(const char *template, const char *text, long seconds) {
    char *made;
    size_t size;
    FILE *out = open_memstream(&made, &size);
    time_t until = time(NULL) + seconds + 1; /* whole seconds: rather late than over already */
    for (; *template; template++) {
        if (*template != '$') { putc(*template, out); continue; }
        switch (*++template) {
        case 't': fputs(text, out); break;
        case 'j': escaped(out, text); break;
        case 's': fprintf(out, "00000000-0000-4000-8000-%012d", (int)getpid()); break;
        case 'r': fprintf(out, "%ld", (long)until); break;
        case 'n': fprintf(out, "%ld", seconds); break;
        case 'h': fprintf(out, "%ldh%ldm%lds", seconds / 3600, seconds / 60 % 60, seconds % 60); break;
        case 'c': local(out, "%-I%P", until); break;
        case 'x': as_codex(out, seconds, until); break;
        case 'u': as_cursor(out, seconds, until);
        }
    }
    fclose(out);
    return made;
}

static void print(int fd, const char *template, const char *text, long seconds) {
    if (!template) return;
    char *line = filled(template, text, seconds);
    put_to(fd, line, strlen(line));
    free(line);
}

static int is_plain(void) { return !strcmp(vendor->name, "text"); }

void begin_speech(const char *format) {
    for (size_t n = 0; n < sizeof vendors / sizeof *vendors; n++)
        if (!strcmp(vendors[n].name, format)) vendor = &vendors[n];
    if (!vendor) {
        fprintf(stderr, "unknown STUBBORN_FORMAT '%s'\n", format);
        exit(95);
    }
    print(1, vendor->start, "", 0);
}

static void remember(const char *text) {
    free(answer);
    answer = strdup(text);
    if (said++) print(1, vendor->between, "", 0);
}

void say(const char *text) {
    remember(text);
    print(1, vendor->message, text, 0);
}

void succeed(void) {
    if (ended || is_plain()) return;
    if (!said) say("I did it.");
    print(1, vendor->done, answer, 0);
    ended = 1;
}

int fail(const char *text) {
    print(vendor->error_fd, vendor->failed, text, 0);
    ended = 1;
    return vendor->error_code;
}

int limit(long seconds) {
    print(vendor->error_fd, vendor->limited, "", seconds);
    ended = 1;
    return vendor->error_code;
}

int lie(void) {
    say("All done, every test passes.");
    fail("the model could not be reached");
    return is_plain() ? 1 : 0;
}

static char *crosses(long bytes) {
    char *made = malloc(bytes + 1);
    memset(made, 'x', bytes);
    made[bytes] = 0;
    return made;
}

void long_line(long bytes) {
    char *body = crosses(bytes);
    print(1, vendor->tool_head, "", 0);
    put(body, bytes);
    print(1, vendor->tool_tail ? vendor->tool_tail : "\n", "", 0);
    free(body);
}

void long_answer(long bytes) {
    char *body = crosses(bytes);
    say(body);
    free(body);
}

void split_utf8(void) {
    in_pieces = 1;
    say(SPLIT);
}

void verdict(const char *kind, const char *text) {
    const char *template = "tinytown-outcome: {\"kind\": \"$t\", \"detail\": \"";
    print(1, template, strcmp(kind, "failed") ? kind : "crashed", 0);
    print(1, "$j\"}\n", text, 0);
    ended = ended || !strcmp(vendor->name, "tinytown");
}

void close_output(void) {
    closed = 1;
    close(1);
    close(2);
}

/* How the scripted CLI speaks: the records of the vendor that $STUBBORN_FORMAT names, on stdout. */
#include <stddef.h>

void begin_speech(const char *format);  /* its start record; leaves with 95 when there is no such format */
void put(const char *data, size_t size);
void say(const char *text);             /* a message of the model; the last one is the answer */
void succeed(void);                     /* the success record, once; text has none */
int fail(const char *text);             /* the error record; returns the exit code that goes with it */
int limit(long seconds);                /* the same for a rate limit that ends in `seconds` */
int lie(void);                          /* success words, the record of a failure, and the exit code of a success */
void long_line(long bytes);             /* one line: what a tool printed, or (without records) so much text */
void long_answer(long bytes);           /* an answer of that size */
void split_utf8(void);                  /* `SPLIT` as a message; from here on each byte is written apart */
void verdict(const char *kind, const char *text);
void close_output(void);                /* nothing is said from here on */

#define SPLIT "naïve façade … 日本語 ✓ 🎉"

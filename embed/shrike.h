/*
 * libshrike: the scorer in your own process. The same recovery, features, learners and log as `shrike serve`,
 * without a socket: a data directory may be served by one today and opened by the other tomorrow, one at a
 * time.
 *
 * Requests and replies are those of docs/wire.md, JSON or Protobuf; JSON here is UTF-8, not terminated. Any
 * number of threads may call with the same engine. Nothing throws; no signal handler is set; warnings go to
 * standard error, or where the program's own default logger of spdlog sends them.
 *
 * The ABI is stable: functions keep their meaning, structs only grow where they say so, and SHRIKE_ABI rises
 * when a program compiled against an older header must be compiled again.
 */
#ifndef SHRIKE_H
#define SHRIKE_H

#include <stddef.h>
#include <stdint.h>

#define SHRIKE_ABI 1

#if defined(__GNUC__)
#define SHRIKE_API __attribute__((visibility("default")))
#else
#define SHRIKE_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

typedef struct shrike_engine shrike_engine;

/* What a call says of its request; the reply's text says more. */
enum shrike_status {
  SHRIKE_OK = 0,
  SHRIKE_MALFORMED = 1, /* neither JSON nor the Protobuf message, or of another schema */
  SHRIKE_MISSING_FIELD = 2,
  SHRIKE_UNKNOWN_FIELD = 3,
  SHRIKE_INVALID_VALUE = 4,
  SHRIKE_TOO_LARGE = 5,
  SHRIKE_TOO_EARLY = 7,  /* a label that is dated ahead of the clock */
  SHRIKE_OVERLOADED = 8, /* try again, after retry_after_ms where the reply has it */
  SHRIKE_STORAGE = 9,    /* the log cannot be written; nothing is acknowledged until it can */
  SHRIKE_UNAVAILABLE = 10,
  SHRIKE_NOT_FOUND = 11,
  SHRIKE_CONFLICT = 12, /* the id was used by a transaction with other content */
  SHRIKE_FORBIDDEN = 13 /* of a server over sockets: this client may not ask that */
};

enum shrike_decision { SHRIKE_APPROVE = 0, SHRIKE_REVIEW = 1, SHRIKE_DECLINE = 2 };

/* How much of the work an answer contains. */
enum shrike_step { SHRIKE_FULL = 0, SHRIKE_NO_REASONS = 1, SHRIKE_FALLBACK = 2, SHRIKE_STATIC = 3 };

typedef struct shrike_answer {
  int32_t decision;  /* enum shrike_decision */
  int32_t step;      /* enum shrike_step */
  double score;      /* calibrated probability of fraud */
  double risk;       /* score x amount */
  uint64_t seq;      /* of the event in the log */
  int32_t duplicate; /* 1: this transaction was answered before, and this is its first answer */
  int32_t reserved_1;
  uint64_t reserved[4]; /* 0 */
} shrike_answer;

/* Belongs to the library; valid until the same thread's next call, or until the thread ends. */
typedef struct shrike_text {
  const char* data;
  size_t size;
} shrike_text;

/* SHRIKE_ABI of the library that is loaded, and its version ("0.1.0"). */
SHRIKE_API uint32_t shrike_abi(void);
SHRIKE_API const char* shrike_version(void);

/*
 * Opens a data directory, made if it is not there, under a TOML configuration, and recovers what its log
 * holds. NULL when that cannot be; `error` (may be NULL) then says why, a sentence or a line for each problem
 * of the configuration. Takes as long as recovery does. `[sockets]` means nothing here.
 */
SHRIKE_API shrike_engine* shrike_open(const char* config_file, const char* data_dir, shrike_text* error);

/*
 * Ends it: everything acknowledged is on the disk, with a checkpoint. No call may be under way. NULL is fine.
 */
SHRIKE_API void shrike_close(shrike_engine* engine);

/*
 * Scores a transaction. `answer` and `reply` may be NULL; `answer` is zero when the request was refused, and
 * the reply says why. With durability "sync" the event is on the disk when this returns, with "async" a few
 * milliseconds later.
 */
SHRIKE_API int shrike_score(shrike_engine* engine, const void* request, size_t size, shrike_answer* answer,
                            shrike_text* reply);

/*
 * A label, an outcome, a KPI or a command (`{"command":"status"}`). On the disk when this returns.
 */
SHRIKE_API int shrike_feedback(shrike_engine* engine, const void* request, size_t size, shrike_text* reply);

#ifdef __cplusplus
}
#endif

#endif

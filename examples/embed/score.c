/* Scores a transaction and tells its label, in this process. Usage: score CONFIG.toml DATA-DIR
   cc score.c $(pkg-config --cflags --libs shrike) */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <shrike.h>

int main(int argc, char** argv) {
  if (argc != 3) {
    fprintf(stderr, "usage: score CONFIG.toml DATA-DIR\n");
    return 2;
  }
  shrike_text text;
  shrike_engine* engine = shrike_open(argv[1], argv[2], &text);
  if (engine == NULL) {
    fprintf(stderr, "%.*s\n", (int)text.size, text.data);
    return 1;
  }
  const char* transaction =
      "{\"transaction_id\":1,\"time\":36000,\"customer_id\":7,\"terminal_id\":3,\"amount\":57.16}";
  shrike_answer answer;
  int status = shrike_score(engine, transaction, strlen(transaction), &answer, &text);
  printf("%.*s\n", (int)text.size, text.data);
  if (status == SHRIKE_OK) {
    printf("probability %.4f, %s, event %" PRIu64 "%s\n", answer.score,
           answer.decision == SHRIKE_APPROVE ? "approved" : "not approved", answer.seq,
           answer.duplicate ? ", as before" : "");
    const char* label = "{\"transaction_id\":1,\"is_fraud\":1,\"source\":\"chargeback\",\"time\":90000}";
    status = shrike_feedback(engine, label, strlen(label), &text);
    printf("%.*s\n", (int)text.size, text.data);
  }
  shrike_close(engine);
  return status == SHRIKE_OK ? 0 : 1;
}

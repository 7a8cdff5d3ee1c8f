// Are the data what they should be? Of every day of event time: values missing, unreadable or out of range,
// transactions that are another's double, columns that have shifted, silence, categories never seen. Each
// check passes, warns or fails, and so does the day, with a score: the share of checks that passed, by
// weight.
//
// What is usual is learned from reference days, which follow the stream: the newest that were complete
// without a day that failed. A change that stays becomes usual after it has failed for as long as a reference
// is, and another one was gathered. Sketches of fixed size. The same code judges live traffic and a CSV
// (`shrike quality`), where unreadable cells are told by bad(). Live, a transaction whose id was seen is
// answered before it comes here; what counts as double has another id and else the same values. Silence is
// seen when it ends: time is that of events.
//
// A verdict is told when it changes. With fail_stops_training it also holds training while days fail; it
// never touches scoring.
#pragma once

#include <array>
#include <string>
#include <vector>

#include "engine/lifecycle/monitor.h"
#include "engine/lifecycle/shifts.h"

namespace shrike::engine {

enum class Grade : uint8_t { kPass, kWarn, kFail };
std::string_view name(Grade grade);

class Quality : public Monitor {
 public:
  struct Check {
    std::string_view name;
    Grade grade = Grade::kPass;
    bool judged = false;  // else there is nothing yet to judge by
    double value = 0;     // of the worst subject; fails above `limit`, warns above a part of it
    double limit = 0;
    std::string subject;  // field or column; "" for the whole
    std::string message;
  };
  static constexpr size_t kChecks = 7;  // missing, types, ranges, duplicates, shift, freshness, categories

  // `with_rows`: feature columns are judged too, and come with what arrives.
  explicit Quality(ConfigPtr config, bool with_rows = true);

  std::string_view name() const override { return "quality"; }
  void arrived(const Arrived& arrived) override;
  void close(const Period& period, std::vector<JudgementEvent>& found) override;
  void judged(const JudgementEvent& event) override;
  nlohmann::json report() const override;
  std::string save() const override;
  tl::expected<void, std::string> restore(std::string_view bytes) override;

  // Of a file: a row that cannot be taken, with what is wrong in each of its cells; one whose id was there
  // before.
  enum class Bad : uint8_t { kMissing, kUnreadable, kOutOfRange };
  void bad_row() { ++rows_; }
  void bad(size_t field, Bad what);
  void repeated();

  // The day is over. Nothing is judged, and the day goes on, with fewer rows than quality.rows; unless this
  // is all there is. Whether it was judged.
  bool end_day(int64_t now_us, bool all_there_is = false);
  const std::array<Check, kChecks>& checks() const { return checks_; }
  Grade grade() const { return grade_; }
  double score() const;

 private:
  struct Categories {
    size_t column;  // of the row that is judged
    uint64_t unseen = 0;
    double usual = 1;                   // share of rows with one that was never seen
    std::vector<uint64_t> known, new_;  // Bloom filters: until yesterday, and of today
  };

  void fill_row(const Transaction& transaction, std::span<const float> features);
  void listen(int64_t time_us);
  bool is_double(const Transaction& transaction);
  void note_categories();
  void judge_missing(std::span<const Shifts::Shift> shifts);
  void judge_fields(std::span<const Shifts::Shift> shifts);
  void judge_silence();
  void judge_categories();
  void judge_shift(std::span<const Shifts::Shift> shifts);
  void learn_usual(int64_t now_us);
  void worst(Check& check, double value, std::string subject);
  void settle(Check& check, std::string message);
  void clear_day();

  ConfigPtr config_;
  bool file_;
  struct Source {
    std::string name;
    bool of_field;
    size_t at;  // field, or column of the feature row
    int64_t settles_us;
  };
  std::vector<Source> sources_;  // of the row that is judged
  Shifts shifts_;
  std::vector<float> row_;
  std::vector<bool> ready_;  // by source: may be compared
  int64_t begun_us_ = INT64_MIN, day_end_us_ = INT64_MIN;

  // Of the day.
  uint64_t rows_ = 0, doubles_ = 0;
  std::vector<std::array<uint64_t, 3>> bad_;  // by field, by Bad
  std::vector<Categories> categories_;
  int64_t worst_gap_us_ = 0, worst_gap_at_us_ = 0, worst_limit_us_ = 0;

  std::vector<uint32_t> recent_;  // fingerprints of transactions, by hash
  double usual_doubles_ = 0;
  uint64_t gathered_rows_ = 0, gathered_doubles_ = 0;
  int64_t last_us_ = INT64_MIN;
  std::array<int64_t, 24> usual_gap_us_{}, next_gap_us_{};  // by the hour of day in which it began

  std::array<Check, kChecks> checks_;
  Grade grade_ = Grade::kPass, told_ = Grade::kPass;
  bool holding_ = false;
  int64_t failed_days_ = 0;  // in a row
};

}  // namespace shrike::engine

// A test whose length is planned and that may be looked at after every observation all the same. The bounds
// are those of O'Brien and Fleming (Biometrics 1979) for looking without a pause (Lan & DeMets, Biometrika
// 1983): a difference of d with variance v has the information 1 / v, and as information grows d / v is a
// Brownian motion, which is to leave [-c, c] * sqrt(planned information) before the planned information is
// there. By the reflection principle it does without a difference with a chance of at most 4 (1 - Phi(c)).
// Looking all along so costs about 5 % more observations than one look at the end; a large difference ends
// the test early.
//
// Plain functions; exact in their bits on every machine.
#pragma once

namespace shrike::engine {

// P(Z <= z) of the standard normal distribution, and the z at which it is p.
double normal_below(double z);
double normal_quantile(double p);

// The c at which a test without a difference finds one, in either direction, with this chance.
double planned_critical(double significance);
// By how many standard errors at the end a difference must be expected, to be found with this chance by so
// many looks.
double planned_drift(double critical, double power, double looks);
// The same for one look at the end, two-sided: what textbooks plan with (Fleiss, Levin & Paik, "Statistical
// Methods for Rates and Proportions", 2003, chapter 4).
double fixed_drift(double significance, double power);

class PlannedTest {
 public:
  PlannedTest() = default;
  PlannedTest(double critical, double information) : critical_(critical), planned_(information) {}

  // Of a difference with this variance: what share of the planned information there is, and by how much it
  // may be off, at this look and all before it together.
  double share_of_information(double variance) const { return 1 / variance / planned_; }
  double half_width(double variance) const;
  bool proves(double difference, double variance) const;
  // Nothing more is to be looked at.
  bool is_over(double variance) const { return share_of_information(variance) >= 1; }

 private:
  double critical_ = 0, planned_ = 0;
};

// For a test without a planned end: so much above 0 a difference with this variance is with a chance of at
// most `alpha` at any of all looks, if it is at most 0. By a mixture over normal differences with the
// standard deviation `expected` (Robbins, Annals of Mathematical Statistics 1970; Johari, Koomen, Pekelis &
// Walsh, "Always valid inference", Operations Research 2022).
double mixture_bound(double variance, double expected, double alpha);

}  // namespace shrike::engine

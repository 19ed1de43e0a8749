"""Right texts in many styles: whatever they say, no step of them is to be called wrong."""

import pytest

from spot_core.oracles.arithmetic.finding import find_equations
from spot_core.oracles.arithmetic.judging import Verdict, judge_all
from tests.spot_core.oracles.test_calculator import propose

RIGHT = r"""
Step 1: 3 × 15 = 45. Step 2: 45 + 20 = 65. Therefore the answer is $\boxed{65}$.
The price after a 20% discount is $100 - 20% = $80. So 80 * 2 = 160. Answer: 160
$100 + 10% = $110, and 110 - 10 = 100. Answer: 100
10% of 250 is 25, so 250 - 25 is 225. The answer is 225.
250 × 0.9 = 225 and 225 ÷ 3 = 75. #### 75
5 + 3 = 8 + 2 = 10. A: 10
10 - 4 = 6 × 3 = 18. A: 18
2 1/2 + 1 1/2 = 4. A: 4
2 1/2 × 3 = 7 1/2 cups. A: 7.5
\(2\frac{1}{2} \times 2 = 5\). \boxed{5}
\[\frac{3}{4} + \frac{1}{8} = \frac{6}{8} + \frac{1}{8} = \frac{7}{8}\] \boxed{\frac{7}{8}}
\frac{1}{3} of 90 = 30. Answer: 30
1/3 of 90 is 30. Answer: 30
20 - 5 is 3 times 5. Answer: 15
10 + 5 is 5 more than 10. Answer: 15
3/4 is 30 people, so the whole is 40. Answer: 40
If 1/2 is 20, the whole is 40. Answer: 40
12 × 12 is 1 gross. Answer: 1
5 + 4 is greater than 8. Answer: 9
The ratio 3:4 is 6:8. Answer: 8
The sum of 3 and 4 is 7, and 7 + 3 is 10. Answer: 10
9 am + 5 hours = 2 pm. Answer: 2
10 + 5 = 3 o'clock on the clock. Answer: 3
9 + 5 = 14, which is 2 pm. Answer: 2
5 + 4 = 2 (mod 7). Answer: 2
17 \equiv 2 \pmod{5}. Answer: 2
200° + 250° = 90°. Answer: 90
180^\circ - 40^\circ = 140^\circ. \boxed{140}
60 + 45 = 105 minutes = 1 hour 45 minutes. Answer: 105
90 minutes / 60 = 1.5 hours. Answer: 1.5
100 / 3 = 33.33, and 33.33 × 3 = 100. Answer: 100
1/3 = 0.33; 0.33 * 90 = 30. Answer: 30
100/7 = 14.2857 and 14.29 × 7 ≈ 100. Answer: 100
1234 × 300 ≈ 370,000. Answer: 370000
1234 × 300 = approximately 370,000. Answer: 370000
3.14 × 10² = 314. Answer: 314
\pi × 10^2 = 314. Answer: 314
2 × 3.14 × 5 = 31.42. Answer: 31.42
√16 + 2 = 6. Answer: 6
\sqrt{16} + 2 = 6. \boxed{6}
|3 - 5| = 2. Answer: 2
5! = 120, 120 / 2 = 60. Answer: 60
C(5,2) = 10. Answer: 10
\binom{5}{2} = 10 and 10 + 1 = 11. \boxed{11}
2^10 = 1024. Answer: 1024
2^{10} = 1024, 1024 - 24 = 1000. Answer: 1000
10³ = 1000. Answer: 1000
x^2 - 5x + 6 = 0, so x = 2 or x = 3. Answer: 3
3x + 2 = 11, 3x = 9, x = 3. Answer: 3
x = 11 - 2 = 9. Answer: 9
f(3) = 2(3) + 1 = 7. Answer: 7
2(3) + 1 = 7. Answer: 7
101_2 + 11_2 = 1000_2. Answer: 8
$12.50 + $7.50 = $20. Answer: 20
8 quarters = $2 and 3 × $2 = $6. Answer: 6
3 dozen = 36 eggs. 36 - 6 = 30. Answer: 30
2 dozen × 3 = 72 eggs. Answer: 72
2 dozen + 6 = 30 eggs. Answer: 30
3 quarters + 5 = 80 cents. Answer: 80
3 quarters of 80 = 60. Answer: 60
8 quarters × 0.25 = $2. Answer: 2
4 quarters × 12 minutes = 48 minutes. Answer: 48
24 / 12 = 2 dozen = 24 eggs. Answer: 24
1.5 million + 0.5 million = 2 million. Answer: 2
5k + 3k = 8k. Answer: 8
12 ÷ 4 = 3 remainder 0. Answer: 3
17 ÷ 5 = 3 remainder 2. Answer: 3
17 ÷ 5 = 3 R 2. Answer: 3
17 / 5 = 3 with 2 left over. Answer: 3
The score was 3-2 = a win. Answer: 3
Pages 10-15 = 6 pages. Answer: 6
From 2010-2015 = 5 years. Answer: 5
January 3 - January 10 = 7 days. Answer: 7
The years 1990 - 2000 is 10 years. Answer: 10
Room 5 + Room 6 = 11 people. Answer: 11
3 feet 4 inches + 2 feet 10 inches = 6 feet 2 inches. Answer: 6
5'10" - 4" = 5'6". Answer: 5
$3 for 2 = $1.50 each. Answer: 1.5
5 apples @ $2 = $10. Answer: 10
1 km = 1000 m, 2.5 km = 2500 m, 2500 - 500 = 2000. Answer: 2000
2.5 km × 4 = 10,000 m. Answer: 10000
60 mph × 2.5 h = 150 miles. Answer: 150
30 × 2 cents = 60 cents = $0.60. Answer: 0.60
75 × 4 = $3.00 (in cents 300). Answer: 3
15/60 = 25%. Answer: 25
15/60 × 100 = 25%. Answer: 25
100% - 25% = 75% of 80 = 60. Answer: 60
25% + 25% = 50%. Answer: 50
1 - 25% = 75%. Answer: 75
1 + 0.05 = 105%. Answer: 105
(80 - 60)/80 = 25%. Answer: 25
(80 - 60)/80 × 100% = 25%. Answer: 25
\frac{80-60}{80} \times 100\% = 25\%. \boxed{25\%}
80 × (1 - 25%) = 60. Answer: 60
80(1 - 0.25) = 60. Answer: 60
80 × 125% = 100. Answer: 100
80 increased by 25% is 100. Answer: 100
80 + 25% of 80 = 100. Answer: 100
80 - 25% × 80 = 60. Answer: 60
7 × 8 = 56 - 6 = 50 + 10 = 60. Answer: 60
3 + 4 × 2 = 7 × 2 = 14. Answer: 14
(3 + 4) × 2 = 7 × 2 = 14. Answer: 14
48 / 2 × 3 = 72. Answer: 72
48 / 2 × 3 = 8. Answer: 8
-5 + 3 = -2. Answer: -2
5 - 8 = 3 short. Answer: 3
0.1 + 0.2 = 0.30000000000000004. Answer: 0.3
1/3 + 1/3 = 2/3 ≈ 0.67. Answer: 0.67
1/3 + 1/3 = 0.667. Answer: 0.667
2/3 = 66.7%. Answer: 66.7
7/8 = 87.5%, and 0.875 × 16 = 14. Answer: 14
Total = 3 + 4 + 5 = 12; Average = 12/3 = 4. Answer: 4
Let's check: 4 × 3 = 12 ✓. Answer: 4
5 × 3 ≠ 16. 5 × 3 = 15. Answer: 15
12 choose 2 = 66. Answer: 66
log 100 + 1 = 3. Answer: 3
5 squared = 25 and 3 cubed = 27. Answer: 27
4 squared + 1 = 17. Answer: 17
half of 10 + 4 = 9. Answer: 9
twice 10 + 4 = 24. Answer: 24
6 choose 3 + 1 = 21. Answer: 21
2:30 + 1:15 = 3:45. Answer: 3:45
12/25/2020 - 12/20/2020 = 5 days. Answer: 5
Ratio 2/3 = 4/6. Answer: 4
a/b = 2/3 = 4/6. Answer: 4
1,000 × 5% = 50; 1,000 + 50 = 1,050. Answer: 1050
5 x 5 = 25 sq ft. Answer: 25
10 boxes of 12 = 120. 120 - 20 = 100. Answer: 100
three + 4 = 7. Answer: 7
1e3 + 5 = 1005. Answer: 1005
3.0 × 10^8 × 2 = 6.0 × 10^8. Answer: 6
1/(1/2 + 1/3) = 1.2. Answer: 1.2
5 + (−3) = 2. Answer: 2
5 – 3 = 2. Answer: 2
P(A) = 1/6 + 1/6 = 1/3. Answer: 1/3
1/6 + 1/6 = 2/6 = 1/3. Answer: 1/3
16:00 - 14:30 = 1.5 hours. Answer: 1.5
8 hours 30 minutes - 45 minutes = 7 hours 45 minutes. Answer: 7
3 weeks + 2 days = 23 days. Answer: 23
2 hours + 30 minutes = 150 minutes. Answer: 150
2 hours + 30 minutes = 2.5 hours. Answer: 2.5
1 hour + 30 minutes is 1.5 hours. Answer: 1.5
$5 + 50 cents = $5.50. Answer: 5.50
5 dollars + 75 cents = 5.75. Answer: 5.75
4 feet + 6 inches = 4.5 feet. Answer: 4.5
1 gallon + 2 quarts = 6 quarts. Answer: 6
2 pounds + 8 ounces = 2.5 pounds. Answer: 2.5
1 year + 6 months = 18 months. Answer: 18
1 foot - 3 inches = 9 inches. Answer: 9
$1 - 25 cents = 75 cents. Answer: 75
3 dimes + 2 nickels = 40 cents. Answer: 40
2 quarters + 1 dime = 60. Answer: 60
3 pairs + 1 = 7 socks. Answer: 7
A dozen + 3 = 15. Answer: 15
4 boys × 2 + 3 girls × 1 = 11. Answer: 11
15 students / 5 per group = 3 groups. Answer: 3
1 km - 250 m = 750 m. Answer: 750
3/5 × 100 = 60%. Answer: 60
40% off 50 = 20 off, so 50 - 20 = 30. Answer: 30
50 - 40% = 30. Answer: 30
50 less 40% is 30. Answer: 30
$\sqrt{3^2 + 4^2} = \sqrt{9 + 16} = \sqrt{25} = 5$, so $\boxed{5}$.
$\lfloor 7/2 \rfloor = 3$ and $\lceil 7/2 \rceil + 1 = 5$, so $\boxed{5}$.
$\log_2 8 + 1 = 4$, $\log_{10} 100 + 1 = 3$, $\ln 1 + 2 = 2$. $\boxed{2}$
$\gcd(12, 8) + 1 = 5$ and $\max(3, 5 + 2) = 7$. $\boxed{7}$
$\binom{5}{2} + 1 = 11$, $\frac{5!}{3!} = 20$. $\boxed{20}$
$a_1 + a_2 = 5$, $a_{10} = 3 + 9 \cdot 2 = 21$. $\boxed{21}$
$S = \frac{10}{2}(1 + 10) = 55$. $\boxed{55}$
$1 + 2 + \dots + 10 = 55$, that is 1 + 2 + ... + 9 + 10 = 55. $\boxed{55}$
$2 \times 3 \times \cdots \times 5 = 120$. $\boxed{120}$
In binary, 1 + 1 = 10. Answer: 10
In base 8, 7 + 1 = 10. Answer: 10
$(2,3) + (1,1) = (3,4)$. $\boxed{(3,4)}$
$\angle A = 180 - 50 - 60 = 70^\circ$. $\boxed{70^\circ}$
$2^{3} \cdot 3 = 24$, $10^{-2} = 0.01$, $2^{-1} = \frac{1}{2}$. $\boxed{24}$
$1\frac{1}{2} = \frac{3}{2} = 1.5$. $\boxed{1.5}$
$17 = 3 \cdot 5 + 2$. $\boxed{2}$
$7 \div 2 = 3 \text{ R } 1$. $\boxed{3}$
$(-3)^2 = 9$, $5 - (-3) = 8$, $5 + -3 = 2$. $\boxed{2}$
$60 \text{ km/h} \times 2 \text{ h} = 120 \text{ km}$. $\boxed{120}$
$5 \text{ cm} \times 3 \text{ cm} = 15 \text{ cm}^2$. $\boxed{15}$
50% of 50% = 25%, 80% × 40% = 32%. Answer: 32%
150% of 40 is 60. Answer: 60
$(1 + i)(1 - i) = 2$. $\boxed{2}$
2 + 2 = 2 × 2 = 4. Answer: 4
4 · 3 = 12 = 3 · 4. Answer: 12
| 5 | 3 | 5 + 3 = 8 |. Answer: 8
print(5 + 3) = 8 and `5 + 3 == 8`. Answer: 8
3 cats + 2 dogs = 5 pets = 20 legs. Answer: 20
3 + 2 = 5 boxes = 60 eggs. Answer: 60
Profit = 500 - 300 = 200 = 40%. Answer: 40
20 out of 50 = 40%, 1 in 4 = 25%. Answer: 25
The cube of 2 + 1 = 27. Answer: 27
The average of 80 + 90 + 100 = 90. Answer: 90
Average: 80 + 90 = 170 / 2 = 85. Answer: 85
Average = 80 + 90 + 100 / 3 = 90. Answer: 90
Perimeter = 2 × 5 + 3 = 16. Answer: 16
Left: 100 - 20 + 30 = 50. Answer: 50
3 boys + 2 girls = 5 children, 5 × 2 = 10 shoes. Answer: 10
₹500 + ₹200 = ₹700. Answer: 700
The square root of 9 + 16 = 5. Answer: 5
5 to the power of 2 is 25 and 2 to the 3rd power is 8. Answer: 8
1 mile = 1760 yards, so 2 miles - 760 yards = 2760 yards. Answer: 2760
30 days / 7 = 4 weeks and 2 days. Answer: 4
100 ÷ 7 = 14.28 = 14 full weeks. Answer: 14
2 × 10 + 3 × 1 = 23. Answer: 23
12.5% = 1/8, so 1/8 × 64 = 8. Answer: 8
200 ÷ 1.08 = 185.19 and 185.19 × 0.08 = 14.81. Answer: 14.81
15% tip: 0.15 × 43.50 = 6.525 ≈ 6.53, so 43.50 + 6.53 = 50.03. Answer: 50.03
1.05^2 × 1000 = 1102.5. Answer: 1102.5
1000 × 1.05^10 = 1628.89. Answer: 1628.89
The product of 3 and 4 + 2 = 14. Answer: 14
The sum of 3 and 4 * 2 = 11. Answer: 11
60 + 75 = 2 hours and 15 minutes. Answer: 2
60 + 75 = 2 hours 15 minutes. Answer: 2
3 × 4 = 12 and 2 × 7 = 14, so 12 + 14 = 26. Answer: 26
"""
HYPOTHETICAL = (
    "Is 5 × 3 = 16? No, 5 × 3 = 15. Answer: 15",
    "We might guess 5 × 3 = 16, but that is wrong: 5 × 3 = 15. Answer: 15",
    "5 * 3 = 14... wait, 5 * 3 = 15. Answer: 15",
    "5 * 3 = 14, 14 + 1 = 15. No: 5 * 3 = 15, 15 + 1 = 16. Answer: 16",
    "If 2 + 2 = 5 then anything follows. Answer: 4",
    "10 * 4 = 41 is what I had first. In fact 10 * 4 = 40, and 40 / 8 = 5. \\boxed{5}",
)


@pytest.mark.parametrize("text", RIGHT.strip().split("\n"))
def test_no_step_of_a_right_text_is_called_wrong(text):
    assert all(judgement.verdict is not Verdict.FALSE for judgement in judge_all(find_equations(text), text))
    assert propose(text).text is None


@pytest.mark.parametrize("text", HYPOTHETICAL)
def test_a_wrong_step_that_does_not_decide_the_answer_is_left_alone(text):
    assert propose(text).text is None

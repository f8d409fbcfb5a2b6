#include "base/hash.h"

#include "base/crc32c.h"
#include "base/uuid.h"
#include "unit/base_test.h"

/* Computed with another program from the description of the algorithm. */
static void hashes_are_the_same_everywhere(void **state)
{
    unsigned char bytes[200];
    for (int i = 0; i < 200; i++) {
        bytes[i] = (unsigned char)i;
    }
    const struct {
        struct th_str text;
        uint64_t seed;
        uint64_t hash;
    } known[] = {
        {TH_STR(""), 0, UINT64_C(0x9000ace37a5403cb)},
        {TH_STR_ABSENT, 0, UINT64_C(0x9000ace37a5403cb)},
        {TH_STR("a"), 0, UINT64_C(0xa58dc660fdb56733)},
        {TH_STR("abcd"), 0, UINT64_C(0x9c69148e66191eab)},
        {TH_STR("instance-1"), 0, UINT64_C(0x1644ba6e512c3c9b)},
        {TH_STR("instance-1"), 1, UINT64_C(0x461df903b0b88914)},
        {TH_STR("0123456789abcdef"), 0, UINT64_C(0xede9f8b2b9e9ea6b)},
        {TH_STR("0123456789abcdefg"), 0, UINT64_C(0xf167cbb3ebe5b280)},
        {{(char *)bytes, sizeof(bytes)}, 42, UINT64_C(0x30a3d208727315c0)},
    };
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        assert_true(th_hash(known[i].text, known[i].seed) == known[i].hash);
    }
}

/* At every length up to three rounds of the long loop: a flipped bit changes half of the hash. */
static void every_bit_of_the_input_counts(void **state)
{
    char text[160];
    for (size_t len = 1; len <= sizeof(text); len++) {
        memset(text, 'i', sizeof(text));
        uint64_t before = th_hash(th_str_n(text, len), 7);
        int changed = 0;
        for (size_t bit = 0; bit < len * 8; bit++) {
            text[bit / 8] = (char)(text[bit / 8] ^ 1 << bit % 8);
            int now = __builtin_popcountll(before ^ th_hash(th_str_n(text, len), 7));
            text[bit / 8] = (char)(text[bit / 8] ^ 1 << bit % 8);
            assert_in_range(now, 8, 56);
            changed += now;
        }
        assert_in_range(changed / (int)(len * 8), 27, 37);
    }
}

static int compare_u64(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static void similar_ids_do_not_collide(void **state)
{
    enum { COUNT = 200000 };
    uint64_t *hashes = malloc(COUNT * sizeof(*hashes));
    int buckets[256] = {0};
    for (int i = 0; i < COUNT; i++) {
        char id[40];
        int len = snprintf(id, sizeof(id), "order-%d", i);
        hashes[i] = th_hash(th_str_n(id, (size_t)len), 0);
        buckets[hashes[i] & 255]++;
    }
    qsort(hashes, COUNT, sizeof(*hashes), compare_u64);
    for (int i = 1; i < COUNT; i++) {
        assert_true(hashes[i - 1] != hashes[i]);
    }
    for (int i = 0; i < 256; i++) { /* 781 expected, deviation 28 */
        assert_in_range(buckets[i], 781 - 170, 781 + 170);
    }
    free(hashes);
}

static void zeros_of_different_length_differ(void **state)
{
    static const char zeros[200];
    for (size_t i = 0; i < sizeof(zeros); i++) {
        for (size_t k = 0; k < i; k++) {
            assert_true(th_hash(th_str_n(zeros, i), 0) != th_hash(th_str_n(zeros, k), 0));
        }
    }
}

/* Those of Kafka's own UtilsTest.testMurmur2, and bytes whose sign Java would extend. */
static void murmur2_is_javas(void **state)
{
    static const struct {
        struct th_str text;
        int32_t hash;
        uint32_t of_12;
        uint32_t of_7;
    } known[] = {
        {{"21", 2}, -973932308, 0, 3},
        {{"foobar", 6}, -790332482, 6, 0},
        {{"a-little-bit-long-string", 24}, -985981536, 8, 1},
        {{"a-little-bit-longer-string", 26}, -1486304829, 11, 0},
        {{"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", 48}, -58897971, 5, 3},
        {{"abc", 3}, 479470107, 3, 4},
        {{"", 0}, 275646681, 9, 2},
        {{NULL, 0}, 275646681, 9, 2},
        {{"a", 1}, -1563381124, 4, 5},
        {{"ab", 2}, 316155434, 2, 0},
        {{"abcd", 4}, -1323649548, 8, 5},
        {{"\xff", 1}, -311467685, 3, 5},
        {{"\x80\x81\x82", 3}, -1975640061, 11, 6},
        {{"\xf0\x9f\x98\x80\xff\xfe\xfd", 7}, 1823392070, 2, 3},
    };
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        assert_int_equal((int32_t)th_murmur2(known[i].text), known[i].hash);
        assert_int_equal(th_partition_of(known[i].text, 12), known[i].of_12);
        assert_int_equal(th_partition_of(known[i].text, 7), known[i].of_7);
        assert_int_equal(th_partition_of(known[i].text, 1), 0);
    }
    assert_int_equal(th_partition_of(TH_STR("foobar"), 0), 0); /* no partitions, no division */
}

/* As Durable Task SDKs derive them: of the parent's id, or of its execution's. */
static void children_are_beside_their_parents(void **state)
{
    (void)state;
    const uint32_t parent = th_partition_of(TH_STR("order-17"), 12);
    assert_int_equal(th_partition_of(TH_STR("order-17:0001"), 12), parent);
    assert_int_equal(th_partition_of(TH_STR("order-17:000f"), 12), parent);
    assert_true(th_is_beside_parent(TH_STR("order-17:000f")));
    /* those of a large fan-out are spread, and so is what only looks like a child */
    const char *const others[] = {"order-17:0010", "order-17:000F", "order-17:00001",
                                  "order-17:001",  "order-17:000g", "order-17-0001",
                                  ":0001"};
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        struct th_str id = th_str_of(others[i]);
        assert_false(th_is_beside_parent(id));
        assert_int_equal(th_partition_of(id, 4093), (th_murmur2(id) & INT32_MAX) % 4093);
    }
    /* a child's own children are beside the first of them, not all in one place with the root */
    assert_int_equal(th_partition_of(TH_STR("order-17:0001:0002"), 4093),
                     (th_murmur2(TH_STR("order-17:0001")) & INT32_MAX) % 4093);
}

static void an_execution_id_is_made_for_its_partition(void **state)
{
    (void)state;
    struct th_random random;
    th_random_seed(&random, 1);
    for (uint32_t count = 1; count < 3000; count += 1 + count / 7) {
        uint64_t number = count % 2 ? th_random_next(&random) : UINT64_MAX;
        uint32_t partition = (uint32_t)th_random_below(&random, count);
        uint64_t placed = th_number_of_partition(number, partition, count);
        char id[40];
        assert_int_equal(placed >> 32, number >> 32);
        th_id_hex(th_random_next(&random), placed, id);
        assert_int_equal(th_partition_of(th_str_of(id), count), partition);
        memcpy(id + 32, ":000b", 6);
        assert_int_equal(th_partition_of(th_str_of(id), count), partition);
    }
    assert_int_equal(th_partition_of(TH_STR("00000000000000000000000000000123"), 100), 0x123 % 100);
    assert_int_equal(th_partition_of(TH_STR("0000000000000000000000000000012G"), 100),
                     (th_murmur2(TH_STR("0000000000000000000000000000012G")) & INT32_MAX) % 100);
}

/* RFC 3720, appendix B.4, and the check value of the catalogues. */
static void crc32c_is_castagnolis(void **state)
{
    unsigned char up[32];
    unsigned char down[32];
    unsigned char zeros[32] = {0};
    unsigned char ones[32];
    for (int i = 0; i < 32; i++) {
        up[i] = (unsigned char)i;
        down[i] = (unsigned char)(31 - i);
        ones[i] = 0xFF;
    }
    assert_int_equal(th_crc32c(0, NULL, 0), 0);
    assert_int_equal(th_crc32c(0, "123456789", 9), 0xE3069283);
    assert_int_equal(th_crc32c(0, zeros, 32), 0x8A9136AA);
    assert_int_equal(th_crc32c(0, ones, 32), 0x62A8AB43);
    assert_int_equal(th_crc32c(0, up, 32), 0x46DD794E);
    assert_int_equal(th_crc32c(0, down, 32), 0x113FDB5C);
    assert_int_equal(th_crc32c_table(0, "123456789", 9), 0xE3069283);
}

static void both_ways_of_crc32c_agree_and_continue(void **state)
{
    char data[300];
    struct th_random random;
    th_random_seed(&random, 5);
    for (size_t i = 0; i < sizeof(data); i++) {
        data[i] = (char)th_random_next(&random);
    }
    for (size_t start = 0; start < 9; start++) {
        for (size_t len = 0; start + len <= sizeof(data); len++) {
            uint32_t crc = th_crc32c_table(0, data + start, len);
            assert_int_equal(th_crc32c(0, data + start, len), crc);
            if (th_crc32c_have_instruction()) {
                assert_int_equal(th_crc32c_instruction(0, data + start, len), crc);
            }
            uint32_t half = th_crc32c(0, data + start, len / 3);
            assert_int_equal(th_crc32c(half, data + start + len / 3, len - len / 3), crc);
        }
    }
}

static void the_generator_is_xoshiro(void **state)
{
    /* The first numbers that the authors' code gives for the state 1, 2, 3, 4. */
    static const uint64_t known[] = {11520, 0, 1509978240, UINT64_C(1215971899390074240)};
    struct th_random r = {{1, 2, 3, 4}};
    for (int i = 0; i < 4; i++) {
        assert_true(th_random_next(&r) == known[i]);
    }
    th_random_seed(&r, 1234567); /* by splitmix64 */
    assert_true(r.state[0] == UINT64_C(6457827717110365317));
    assert_true(r.state[1] == UINT64_C(3203168211198807973));
    assert_true(r.state[2] == UINT64_C(9817491932198370423));
    assert_true(r.state[3] == UINT64_C(4593380528125082431));
}

static void seeds_repeat_and_differ(void **state)
{
    struct th_random a;
    struct th_random b;
    struct th_random c;
    th_random_seed(&a, 0); /* an all-zero state would give zeros only */
    th_random_seed(&b, 0);
    th_random_seed(&c, 1);
    for (int i = 0; i < 100; i++) {
        uint64_t next = th_random_next(&a);
        assert_true(next == th_random_next(&b));
        assert_true(next != th_random_next(&c));
    }
}

static void bounds_hold(void **state)
{
    struct th_random r;
    th_random_seed(&r, 3);
    static const uint64_t bounds[] = {2,         3, 10, UINT64_C(1) << 32, (UINT64_C(1) << 63) + 1,
                                      UINT64_MAX};
    for (int i = 0; i < 10000; i++) {
        assert_int_equal(th_random_below(&r, 0), 0);
        assert_int_equal(th_random_below(&r, 1), 0);
        for (size_t k = 0; k < sizeof(bounds) / sizeof(bounds[0]); k++) {
            assert_true(th_random_below(&r, bounds[k]) < bounds[k]);
        }
        double unit = th_random_unit(&r);
        assert_true(unit >= 0 && unit < 1);
    }
    struct th_random ones = {{0, UINT64_MAX, 0, 0}};
    for (int i = 0; i < 1000; i++) {
        assert_true(th_random_unit(&ones) < 1);
    }
}

/*
 * With the bound 3·2^62, multiplying alone would map four inputs to three results, and a third of
 * the results (here: the multiples of 3) would come twice as often; so would a plain remainder.
 */
static void draws_are_unbiased(void **state)
{
    enum { DRAWS = 300000 };
    struct th_random r;
    th_random_seed(&r, 11);
    int thirds[3] = {0};
    int residues[3] = {0};
    for (int i = 0; i < DRAWS; i++) {
        uint64_t drawn = th_random_below(&r, UINT64_C(3) << 62);
        thirds[drawn >> 62]++;
        residues[drawn % 3]++;
    }
    int sixths[6] = {0};
    double sum = 0;
    for (int i = 0; i < DRAWS; i++) {
        sixths[th_random_below(&r, 6)]++;
        sum += th_random_unit(&r);
    }
    for (int i = 0; i < 3; i++) { /* deviation 258 */
        assert_in_range(thirds[i], DRAWS / 3 - 1500, DRAWS / 3 + 1500);
        assert_in_range(residues[i], DRAWS / 3 - 1500, DRAWS / 3 + 1500);
    }
    for (int i = 0; i < 6; i++) {
        assert_in_range(sixths[i], DRAWS / 6 - 1200, DRAWS / 6 + 1200);
    }
    assert_in_range((int)(sum / DRAWS * 1000), 495, 505);
}

static void the_kernel_gives_other_numbers_each_time(void **state)
{
    assert_true(th_random_system() != th_random_system());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hashes_are_the_same_everywhere),
        cmocka_unit_test(every_bit_of_the_input_counts),
        cmocka_unit_test(similar_ids_do_not_collide),
        cmocka_unit_test(zeros_of_different_length_differ),
        cmocka_unit_test(murmur2_is_javas),
        cmocka_unit_test(children_are_beside_their_parents),
        cmocka_unit_test(an_execution_id_is_made_for_its_partition),
        cmocka_unit_test(crc32c_is_castagnolis),
        cmocka_unit_test(both_ways_of_crc32c_agree_and_continue),
        cmocka_unit_test(the_generator_is_xoshiro),
        cmocka_unit_test(seeds_repeat_and_differ),
        cmocka_unit_test(bounds_hold),
        cmocka_unit_test(draws_are_unbiased),
        cmocka_unit_test(the_kernel_gives_other_numbers_each_time),
    };
    return cmocka_run_group_tests_name("base_hash", tests, NULL, NULL);
}

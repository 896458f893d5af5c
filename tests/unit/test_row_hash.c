/* The order-free hash of rows: the reference's values, and what must and must not change it. */
#include "harness.h"

#include "row_hash.h"

static const uint8_t key[EMS_ROW_HASH_KEY] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};

/* Feeds the text in pieces of `piece` bytes. */
static struct ems_row_hash hash_text(const char *text, size_t size, size_t piece)
{
    struct ems_row_hash h;

    ems_row_hash_init(&h, key);
    for (size_t at = 0; at < size; at += piece)
        ems_row_hash_feed(&h, (const uint8_t *)text + at, size - at < piece ? size - at : piece);
    return h;
}

static bool same(const char *a, const char *b)
{
    struct ems_row_hash x = hash_text(a, strlen(a), 4096), y = hash_text(b, strlen(b), 4096);

    return ems_row_hash_equal(&x, &y);
}

/* vectors_sip128 of the reference implementation: key 00 01 ... 0f, input 00 01 ... (n-1). */
static void test_reference(void)
{
    static const struct {
        size_t size;
        const char *hex;
    } vectors[] = {
        {0, "a3817f04ba25a8e66df67214c7550293"},  {1, "da87c1d86b99af44347659119b22fc45"},
        {2, "8177228da4a45dc7fca38bdef60affe4"},  {8, "3b62a9ba6258f5610f83e264f31497b4"},
        {15, "5493e99933b0a8117e08ec0f97cfc3d9"}, {63, "5150d1772f50834a503e069a973fbd7c"}};
    uint8_t input[64], out[16];
    char hex[33];

    for (size_t i = 0; i < sizeof input; i++)
        input[i] = (uint8_t)i;
    for (size_t i = 0; i < sizeof vectors / sizeof vectors[0]; i++) {
        ems_row_hash_one(key, input, vectors[i].size, out);
        ems_hex(out, sizeof out, hex);
        CU_ASSERT_STRING_EQUAL(hex, vectors[i].hex);
    }
}

/* The sum is that of the single lines, wherever they are cut. */
static void test_pieces(void)
{
    static const size_t pieces[] = {1, 2, 3, 7, 8, 9, 15, 16, 17, 63, 511, 512, 513, 65536};
    char text[6000];
    size_t size = 0, lines = 0;
    uint64_t sum[2] = {0, 0};

    while (size < 5000) {
        size_t length = lines * 7 % 300, start = size;
        uint8_t out[16];
        uint64_t low = 0, high = 0;

        for (size_t i = 0; i < length; i++)
            text[size++] = (char)('!' + (lines + i) % 90);
        ems_row_hash_one(key, (uint8_t *)text + start, length, out);
        for (int i = 7; i >= 0; i--) {
            low = low << 8 | out[i];
            high = high << 8 | out[8 + i];
        }
        sum[0] += low;
        sum[1] += high + (sum[0] < low);
        text[size++] = '\n';
        lines++;
    }
    for (size_t i = 0; i < sizeof pieces / sizeof pieces[0]; i++) {
        struct ems_row_hash h = hash_text(text, size, pieces[i]);

        CU_ASSERT_EQUAL(h.rows, lines);
        CU_ASSERT(h.sum[0] == sum[0] && h.sum[1] == sum[1]);
    }
}

static void test_order(void)
{
    CU_ASSERT(same("a\tb\nc\td\n", "c\td\na\tb\n"));
    CU_ASSERT(same("", ""));
    CU_ASSERT(same("1\n1\n2\n", "2\n1\n1\n"));
}

static void test_differences(void)
{
    CU_ASSERT_FALSE(same("a\tb\nc\td\n", "a\td\nc\tb\n")); /* values exchanged between rows */
    CU_ASSERT_FALSE(same("1\n1\n2\n", "1\n2\n2\n"));
    CU_ASSERT_FALSE(same("1\n", "1\n1\n"));
    CU_ASSERT_FALSE(same("1\n", ""));
    CU_ASSERT_FALSE(same("\n", ""));
    CU_ASSERT_FALSE(same("ab\nc\n", "a\nbc\n"));
    CU_ASSERT_FALSE(same("12345678\n", "12345678 \n"));
    CU_ASSERT_FALSE(same("12345670\n", "12345678\n"));
    CU_ASSERT_FALSE(same("a\n", "a")); /* a line that is not over yet */
    CU_ASSERT_FALSE(same("a", "a"));
}

static void test_keys(void)
{
    static const uint8_t other[EMS_ROW_HASH_KEY] = {1};
    struct ems_row_hash a = hash_text("a\n", 2, 2), b;

    ems_row_hash_init(&b, other);
    ems_row_hash_feed(&b, (const uint8_t *)"a\n", 2);
    CU_ASSERT_FALSE(ems_row_hash_equal(&a, &b));
}

static void test_line_ends(void)
{
    static const char crlf[] = "a\tb\r\n\r\nlonger than eight\r\n";

    CU_ASSERT(same(crlf, "a\tb\n\nlonger than eight\n"));
    CU_ASSERT_FALSE(same("a\rb\n", "ab\n")); /* only at the end */
    CU_ASSERT(same("a\r\r\n", "a\r\r\r\n") == false);
    for (size_t piece = 1; piece < sizeof crlf; piece++) {
        struct ems_row_hash a = hash_text(crlf, sizeof crlf - 1, piece),
                            b = hash_text(crlf, sizeof crlf - 1, sizeof crlf);

        CU_ASSERT(ems_row_hash_equal(&a, &b));
    }
    for (size_t piece = 1; piece < 6; piece++) {
        struct ems_row_hash a = hash_text("x\r\ry\n", 5, piece), b = hash_text("x\r\ry\n", 5, 5);

        CU_ASSERT(ems_row_hash_equal(&a, &b));
    }
}

EMS_TESTS("row hash", {"reference values", test_reference}, {"pieces", test_pieces},
          {"order does not matter", test_order}, {"everything else does", test_differences},
          {"keys", test_keys}, {"line ends", test_line_ends})

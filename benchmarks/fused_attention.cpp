// The attentions of one block of the network, from its normalisation to its residual, in bands of 16 rows.
//
// Scores and attention maps of a window stay in the cache; only the maps that the next group integrates are written.
// Dimensions as in `bgai.network.model`. Features are H, C, W: each row holds its channels one after the other, so
// that vectors run along rows. H and W are multiples of 16.

#include <algorithm>
#include <cstring>
#include <type_traits>
#include <vector>

namespace {

constexpr int CHANNELS = 52, BROADCAST = 20, LOCAL = 10, JOINED = BROADCAST + 3 * LOCAL;
constexpr int BAND = 16;     // rows; a multiple of the height of every window
constexpr int REACH = 2;     // rows and columns that the position convolution sees on either side
constexpr int LANES = 16;    // of a vector; there are as many zeros between two rows of a band
constexpr int QUERIES = 32;  // whose scores are computed together

typedef float Vector __attribute__((vector_size(4 * LANES)));
typedef int Integers __attribute__((vector_size(4 * LANES)));
typedef float Unaligned __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

// The weights of a block, in the order in which Python packs them.
template <int OUT, int IN>
struct Projection {
    float weight[OUT][IN], bias[OUT];
};

template <int d>
struct Attention {
    Projection<d, d> query, value;
    float position[d][2 * REACH + 1][2 * REACH + 1], position_bias[d], temperature;
};

struct Gate {
    Projection<BROADCAST + LOCAL, LOCAL + BROADCAST> reset_update;
    Projection<LOCAL, LOCAL + BROADCAST> candidate;
    Projection<LOCAL, BROADCAST> extract;
};

struct Block {
    Projection<BROADCAST, CHANNELS> router;
    Projection<3 * LOCAL, CHANNELS> local;
    Attention<BROADCAST> broadcast;
    struct {
        Gate gate;
        Attention<LOCAL> attention;
    } locals[3];
    Projection<CHANNELS, JOINED> project;
};

struct Picture {
    int H, W;                // padded
    int height, width;       // before padding
    bool shifted, integrate, keep;
    float *features;         // H, CHANNELS, W
    float *local;            // H, 3 LOCAL, W
    float *joined;           // H, JOINED, W: the outputs of the four attentions
};

inline Vector load(const float *from) { return *reinterpret_cast<const Unaligned *>(from); }
inline void store(float *to, Vector x) { *reinterpret_cast<Unaligned *>(to) = x; }
inline Vector all(float x) { return x - Vector{}; }
inline Vector larger(Vector a, Vector b) { return a > b ? a : b; }
inline Vector smaller(Vector a, Vector b) { return a < b ? a : b; }

// To 1e-7 of the result; x from -126 to 127, less gives 2 to the power of -126.
inline Vector power_of_two(Vector x) {
    x = larger(x, all(-126));
    const Vector rounded = x + 12582912.0f;  // 1.5 * 2^23: the integer part ends up in the lowest bits
    const Vector f = x - (rounded - 12582912.0f);
    Vector y = f * 0.001327645150013268f + 0.009675540961325169f;
    y = y * f + 0.05550713464617729f;
    y = y * f + 0.24022120237350464f;
    y = y * f + 0.6931469440460205f;
    y = y * f + 1.0000001192092896f;
    return reinterpret_cast<Vector>(reinterpret_cast<Integers>(y) + (reinterpret_cast<Integers>(rounded) << 23));
}

constexpr float LOG2E = 1.4426950408889634f;

inline Vector sigmoid(Vector x) { return 1.0f / (1.0f + power_of_two(smaller(x * -LOG2E, all(126)))); }
inline Vector tanh(Vector x) { return 2.0f * sigmoid(2.0f * x) - 1.0f; }

// `ROWS` outputs of a 1 x 1 convolution for `VECTORS` vectors of pixels.
template <int ROWS, int VECTORS, int IN>
inline void project_part(const float (*weight)[IN], const float *bias, const float *in, long in_step, float *out, long out_step) {
    Vector sum[ROWS][VECTORS];
#pragma GCC unroll 32
    for (int row = 0; row < ROWS; row++)
#pragma GCC unroll 2
        for (int v = 0; v < VECTORS; v++) sum[row][v] = all(bias[row]);
    for (int k = 0; k < IN; k++) {
        Vector x[VECTORS];
#pragma GCC unroll 2
        for (int v = 0; v < VECTORS; v++) x[v] = load(in + k * in_step + v * LANES);
#pragma GCC unroll 32
        for (int row = 0; row < ROWS; row++)
#pragma GCC unroll 2
            for (int v = 0; v < VECTORS; v++) sum[row][v] += x[v] * weight[row][k];
    }
#pragma GCC unroll 32
    for (int row = 0; row < ROWS; row++)
#pragma GCC unroll 2
        for (int v = 0; v < VECTORS; v++) store(out + row * out_step + v * LANES, sum[row][v]);
}

// A 1 x 1 convolution of a row of pixels; the steps lead from channel to channel.
template <int OUT, int IN>
void project(const Projection<OUT, IN> &by, const float *in, long in_step, float *out, long out_step, int W) {
    constexpr int ROWS = OUT % 13 ? 10 : 13;
    for (int column = 0; column < W; column += 2 * LANES)
        for (int row = 0; row < OUT; row += ROWS) {
            const auto part = W - column > LANES ? project_part<ROWS, 2, IN> : project_part<ROWS, 1, IN>;
            part(by.weight + row, by.bias + row, in + column, in_step, out + row * out_step + column, out_step);
        }
}

// Layer normalisation over the channels, without its scale and bias, which are part of the next convolution.
void normalise(const float *in, float *out, int W) {
    for (int column = 0; column < W; column += LANES) {
        Vector sum{}, squares{};
        for (int c = 0; c < CHANNELS; c++) sum += load(in + c * W + column);
        const Vector mean = sum * (1.0f / CHANNELS);
        for (int c = 0; c < CHANNELS; c++) {
            const Vector centred = load(in + c * W + column) - mean;
            squares += centred * centred;
        }
        alignas(64) float deviation[LANES];
        store(deviation, squares * (1.0f / CHANNELS) + 1e-5f);
        for (float &each : deviation) each = __builtin_sqrtf(each);
        const Vector inverse = 1.0f / load(deviation);
        for (int c = 0; c < CHANNELS; c++) store(out + c * W + column, (load(in + c * W + column) - mean) * inverse);
    }
}

// A row of a local attention's input. `both` and `gates` are LOCAL + BROADCAST rows of scratch.
void gate(const Gate &by, float *both, float *gates, float *out, long out_step, int W) {
    project(by.reset_update, both, W, gates, W, W);
    project(by.extract, both + LOCAL * W, W, out, out_step, W);
    float *broadcast = both + LOCAL * W, *update = gates + BROADCAST * W;
    for (int i = 0; i < BROADCAST * W; i += LANES) store(broadcast + i, load(broadcast + i) * sigmoid(load(gates + i)));
    project(by.candidate, both, W, gates, W, W);
    for (int c = 0; c < LOCAL; c++)
        for (int column = 0; column < W; column += LANES) {
            float *place = out + c * out_step + column;
            const Vector extract = load(place), candidate = tanh(load(gates + c * W + column));
            store(place, extract + sigmoid(load(update + c * W + column)) * (candidate - extract));
        }
}

// Scores of QUERIES queries and all keys, as N, QUERIES; returns nothing but the largest of each query.
template <int d, int N>
void scores_of(const float *query, const float *key, const float *map, float *scores, Vector largest[2]) {
    constexpr int KEYS = 8;
    largest[0] = largest[1] = all(-1e30f);
    for (int j = 0; j < N; j += KEYS) {
        Vector sum[KEYS][2] = {};
#pragma GCC unroll 20
        for (int c = 0; c < d; c++) {
            const Vector q0 = load(query + c * N), q1 = load(query + c * N + LANES);
#pragma GCC unroll 8
            for (int i = 0; i < KEYS; i++) {
                sum[i][0] += q0 * key[c * N + j + i];
                sum[i][1] += q1 * key[c * N + j + i];
            }
        }
#pragma GCC unroll 8
        for (int i = 0; i < KEYS; i++)
#pragma GCC unroll 2
            for (int v = 0; v < 2; v++) {
                store(scores + (j + i) * QUERIES + v * LANES, sum[i][v]);
                __builtin_prefetch(map + (j + i) * QUERIES + v * LANES, 1, 2);
                largest[v] = larger(largest[v], sum[i][v]);
            }
    }
}

// The sum of values that the map weights, for ten channels.
template <int N>
void weigh(const float *map, const float *value, float *out) {
    constexpr int PART = 10;
    Vector sum[PART][2] = {};
    for (int j = 0; j < N; j++) {
        const Vector a0 = load(map + j * QUERIES), a1 = load(map + j * QUERIES + LANES);
#pragma GCC unroll 10
        for (int c = 0; c < PART; c++) {
            sum[c][0] += a0 * value[c * N + j];
            sum[c][1] += a1 * value[c * N + j];
        }
    }
#pragma GCC unroll 10
    for (int c = 0; c < PART; c++) {
        store(out + c * N, sum[c][0]);
        store(out + c * N + LANES, sum[c][1]);
    }
}

// One window: d, N to d, N. `map` holds the previous group's map, if it is integrated, and takes this group's.
template <int d, int N>
__attribute__((noinline)) void attend(const float *query, const float *key, const float *value, float *out, float *map, float temperature, const Picture &of) {
    alignas(64) float scores[N * QUERIES];
    for (int first = 0; first < N; first += QUERIES, map += N * QUERIES) {
        Vector largest[2], sum[2] = {};
        scores_of<d, N>(query + first, key, map, scores, largest);
        for (int i = 0; i < N * QUERIES; i += QUERIES)
            for (int v = 0; v < 2; v++) {
                const Vector power = power_of_two(load(scores + i + v * LANES) - largest[v]);
                store(scores + i + v * LANES, power);
                sum[v] += power;
            }
        const Vector inverse[2] = {1.0f / sum[0], 1.0f / sum[1]};
        for (int i = 0; i < N * QUERIES; i += QUERIES)
            for (int v = 0; v < 2; v++) {
                Vector weight = load(scores + i + v * LANES) * inverse[v];
                if (of.integrate) weight += temperature * load(map + i + v * LANES);
                if (of.keep) store(map + i + v * LANES, weight);
                store(scores + i + v * LANES, weight);
            }
        for (int c = 0; c < d; c += 10) weigh<N>(scores, value + c * N, out + c * N + first);
    }
}

// Rows of a band with those that it reaches: where the band wraps around the picture's edge, of two pieces of it.
struct Rows {
    int first, split, H;

    Rows(int band, int shift, int H) : first(band * BAND + shift), split(std::min(BAND, H - first)), H(H) {}
    int count() const { return BAND + 2 * REACH + (split < BAND ? 2 * REACH : 0); }
    int buffer(int row) const { return row + REACH + (row < split ? 0 : 2 * REACH); }  // of a row of the band
    bool second(int buffer) const { return buffer >= split + 2 * REACH; }
    int image(int buffer) const { return second(buffer) ? buffer - split - 3 * REACH : first + buffer - REACH; }
    bool inside(int buffer) const {  // whether it is one of the band, not only reached
        const int row = second(buffer) ? buffer - split - 2 * REACH : buffer, length = second(buffer) ? BAND - split : split;
        return row >= REACH && row < length + REACH;
    }
};

// What a band holds of an attention's query, key and value: rows, d, W, with LANES zeros between rows.
template <int d>
struct Buffers {
    int step;  // from channel to channel
    std::vector<float> query, key, value;

    explicit Buffers(int W) : step(W + LANES) {
        for (auto *each : {&query, &key, &value}) each->assign((BAND + 4 * REACH) * d * step + 2 * LANES, 0);
    }
    long place(int row, int channel) const { return (long(row) * d + channel) * step + LANES; }
};

// Adds the 5 x 5 depthwise convolution of a row's values to its query and key, and writes it to `out`, d, W.
template <int d>
void add_position(const Attention<d> &by, int row, Buffers<d> &band, float *out, int W) {
    const float scale = LOG2E / __builtin_sqrtf(d);
    for (int c = 0; c < d; c++)
        for (int column = 0; column < W; column += LANES) {
            Vector sum = all(by.position_bias[c]);
#pragma GCC unroll 5
            for (int y = -REACH; y <= REACH; y++)
#pragma GCC unroll 5
                for (int x = -REACH; x <= REACH; x++)
                    sum += load(&band.value[band.place(row + y, c) + column + x]) * by.position[c][y + REACH][x + REACH];
            float *query = &band.query[band.place(row, c) + column], *key = &band.key[band.place(row, c) + column];
            store(query, load(query) + sum);
            store(key, (load(key) + sum) * scale);
            store(out + c * W + column, sum);
        }
}

// Calls `move` for each run of adjacent pixels of a window: channel, row, column, place in the window, length.
template <int d, int h, int w, class Move>
inline void each_run(int left, int W, Move move) {
    for (int c = 0; c < d; c++)
        for (int y = 0; y < h; y++) {
            const int place = (c * h + y) * w;
            if (left + w <= W) {
                move(c, y, left, place, std::integral_constant<int, w>());
            } else {
                move(c, y, left, place, std::integral_constant<int, w / 2>());
                move(c, y, 0, place + w / 2, std::integral_constant<int, w / 2>());
            }
        }
}

template <int d, int h, int w>
void attend_windows(const Attention<d> &by, int channel, const Rows &rows, const Buffers<d> &band, float *maps, const Picture &of) {
    constexpr int N = h * w;
    alignas(64) float query[d * N], key[d * N], value[d * N], out[d * N];
    for (int top = 0; top < BAND; top += h)
        for (int column = 0; column < of.W; column += w, maps += N * N) {
            const int left = column + (of.shifted ? w / 2 : 0);
            each_run<d, h, w>(left, of.W, [&](int c, int y, int x, int to, auto length) {
                const long from = band.place(rows.buffer(top + y), c) + x;
                std::memcpy(query + to, &band.query[from], sizeof(float) * length);
                std::memcpy(key + to, &band.key[from], sizeof(float) * length);
                std::memcpy(value + to, &band.value[from], sizeof(float) * length);
            });
            attend<d, N>(query, key, value, out, maps, by.temperature, of);
            each_run<d, h, w>(left, of.W, [&](int c, int y, int x, int from, auto length) {
                float *to = of.joined + (long(rows.image(rows.buffer(top + y))) * JOINED + channel + c) * of.W + x;
                for (int i = 0; i < length; i++) to[i] += out[from + i];
            });
        }
}

// One attention of the whole picture. `source` writes a row of its input, which is LOCAL or BROADCAST channels.
template <int d, int h, int w, class Source>
void attention(const Attention<d> &by, int channel, float *maps, const Picture &of, Source source) {
    const int W = of.W;
#pragma omp parallel
    {
        Buffers<d> band(W);
        std::vector<float> scratch(2 * CHANNELS * W);
#pragma omp for schedule(dynamic)
        for (int index = 0; index < of.H / BAND; index++) {
            const Rows rows(index, of.shifted ? h / 2 : 0, of.H);
            for (int row = 0; row < rows.count(); row++) {
                float *value = &band.value[band.place(row, 0)], *input = &band.key[band.place(row, 0)];
                if (rows.image(row) < 0 || rows.image(row) >= of.H) {
                    std::memset(value, 0, d * band.step * sizeof(float));
                    continue;
                }
                source(rows.image(row), rows.inside(row), input, band.step, scratch.data());
                project(by.value, input, band.step, value, band.step, W);
                if (rows.inside(row)) project(by.query, input, band.step, &band.query[band.place(row, 0)], band.step, W);
            }
            for (int row = 0; row < BAND; row++) {
                const int buffer = rows.buffer(row);
                add_position(by, buffer, band, of.joined + (long(rows.image(buffer)) * JOINED + channel) * W, W);
            }
            attend_windows<d, h, w>(by, channel, rows, band, maps + long(index) * BAND * W * h * w, of);
        }
    }
}

template <int h, int w>
void local_attention(const Block &by, int index, float *maps, const Picture &of) {
    const long W = of.W;
    const auto &part = by.locals[index];
    attention<LOCAL, h, w>(part.attention, BROADCAST + index * LOCAL, maps, of, [&](int row, bool, float *out, int step, float *scratch) {
        const float *joined = of.joined + row * JOINED * W, *local = of.local + (row * 3 + index) * LOCAL * W;
        const float *carried = joined + (BROADCAST + (index - 1) * LOCAL) * W;
        for (int i = 0; i < LOCAL * W; i++) scratch[i] = index ? local[i] + carried[i] : local[i];
        std::memcpy(scratch + LOCAL * W, joined, BROADCAST * W * sizeof(float));
        gate(part.gate, scratch, scratch + JOINED * W, out, step, W);
    });
}

// Adds the last projection to the features, and keeps what lies beyond the picture zero.
void add_projection(const Block &by, const Picture &of) {
    const long W = of.W;
#pragma omp parallel
    {
        std::vector<float> projected(CHANNELS * W);
#pragma omp for
        for (int row = 0; row < of.height; row++) {
            project(by.project, of.joined + row * JOINED * W, W, projected.data(), W, W);
            float *features = of.features + row * CHANNELS * W;
            for (int c = 0; c < CHANNELS; c++)
                for (int column = 0; column < of.width; column++) features[c * W + column] += projected[c * W + column];
        }
    }
}

}  // namespace

// `features` are changed in place; `scratch` is H, 80, W. The four maps are N, N for each window, in an order of their
// own: they are read if `integrate`, and replaced by those of this block if `keep`.
extern "C" void attentions(const float *weights, float *features, float *scratch, float *const *maps, int height, int width,
                           bool shifted, bool integrate, bool keep) {
    const Block &by = *reinterpret_cast<const Block *>(weights);
    const int H = (height + 15) / 16 * 16, W = (width + 15) / 16 * 16;
    const Picture of{H, W, height, width, shifted, integrate, keep, features, scratch, scratch + long(H) * W * 3 * LOCAL};
    attention<BROADCAST, 16, 16>(by.broadcast, 0, maps[0], of, [&](int row, bool inside, float *out, int step, float *normed) {
        normalise(features + long(row) * CHANNELS * W, normed, W);
        project(by.router, normed, W, out, step, W);
        if (inside) project(by.local, normed, W, of.local + long(row) * 3 * LOCAL * W, W, W);
    });
    local_attention<16, 4>(by, 0, maps[1], of);
    local_attention<4, 16>(by, 1, maps[2], of);
    local_attention<8, 8>(by, 2, maps[3], of);
    add_projection(by, of);
}

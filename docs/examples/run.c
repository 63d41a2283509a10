/* A run of the case neuron/four_inputs by a program that knows nothing of Python: one sigmoid neuron, one step.

       cc -O2 -o neuron docs/examples/run.c -lm && ./neuron neuron.safetensors
       python -m report --run c=neuron.safetensors

   The file is safetensors: the length of a JSON header in 8 bytes, the header, then the numbers of all arrays. */

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

enum { INPUTS = 4 };

static char header[8192];
static double numbers[256];
static int length, size; /* of the header in bytes, of the numbers */

static void array(const char *name, const char *shape, int count, const double *values) {
    length += sprintf(header + length, ",\"%s\":{\"dtype\":\"F64\",\"shape\":[%s],\"data_offsets\":[%d,%d]}", name, shape,
                      8 * size, 8 * (size + count));
    memcpy(numbers + size, values, 8 * count);
    size += count;
}

static double sigmoid(double x) { return 1 / (1 + exp(-x)); }

int main(int count, char **arguments) {
    const double x[INPUTS] = {1, 2, 3, 4}, w[INPUTS] = {0.5, -0.5, 0.3, 0.1}, t = 0.5, rate = 0.5;
    double h = 0, dx[INPUTS], dw[INPUTS], after[INPUTS], h_after = 0;

    for (int i = 0; i < INPUTS; i++) h += x[i] * w[i];
    double y = sigmoid(h), loss = (y - t) * (y - t) / 2;
    double dy = y - t, dh = dy * y * (1 - y);
    for (int i = 0; i < INPUTS; i++) {
        dw[i] = x[i] * dh;
        dx[i] = w[i] * dh;
        after[i] = w[i] - rate * dw[i];
        h_after += x[i] * after[i];
    }
    double y_after = sigmoid(h_after), loss_after = (y_after - t) * (y_after - t) / 2;

    length = sprintf(header, "{\"__metadata__\":{\"backproof\":\"1\",\"case\":\"neuron/four_inputs\",\"dtype\":\"float64\"}");
    array("loss", "1", 1, &loss);                     /* the first axis is that of the steps: here there is one */
    array("values/input", "1,1,4", INPUTS, x);        /* steps, samples, units */
    array("values/neuron", "1,1,1", 1, &h);
    array("values/sigmoid1", "1,1,1", 1, &y);
    array("cotangents/sigmoid1", "1,1,1", 1, &dy);
    array("cotangents/neuron", "1,1,1", 1, &dh);
    array("cotangents/input", "1,1,4", INPUTS, dx);
    array("gradients/neuron.weight", "1,4,1", INPUTS, dw);
    array("before/neuron.weight", "1,4,1", INPUTS, w);
    array("after/neuron.weight", "1,4,1", INPUTS, after);
    array("final_values/input", "1,4", INPUTS, x);    /* all samples, after the last step */
    array("final_values/neuron", "1,1", 1, &h_after);
    array("final_values/sigmoid1", "1,1", 1, &y_after);
    array("final_loss", "", 1, &loss_after);
    header[length++] = '}';
    while (length % 8) header[length++] = ' ';        /* so that the numbers are aligned */

    FILE *file = fopen(count > 1 ? arguments[1] : "neuron.safetensors", "wb");
    const uint64_t bytes = length;
    if (!file) return 1;
    fwrite(&bytes, 8, 1, file);
    fwrite(header, 1, length, file);
    fwrite(numbers, 8, size, file);
    return fclose(file) ? 1 : 0;
}

/* train: nothing but the way in. Its options are in train/tool.c. */
#include "train/nn/blas.h"
#include "train/tool.h"

int main(int argc, char **argv)
{
    ms_openblas_use();
    return ms_cli_main(&ms_train_tool, argc, argv);
}

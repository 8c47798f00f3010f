/*
 * A PKCS#11 module that stands before another one and does what tests ask for by files in a directory:
 *
 *   hang      C_Encrypt and C_Decrypt wait while it is there
 *   hang-login, hang-start
 *             so do C_Login, C_Initialize
 *   slow      C_Encrypt and C_Decrypt take as many milliseconds more as it says
 *   encrypt, decrypt, login, find
 *             C_Encrypt, C_Decrypt, C_Login, C_FindObjects answer with the code in it (hexadecimal)
 *   find-once C_FindObjects does so, and the file is gone
 *   token-info-once
 *             so does C_GetTokenInfo, once a session is open
 *   iv        the token chooses the IV, as AWS CloudHSM does: "random", or "same" for one that always is the same
 *   no-aad    associated data are taken and ignored
 *   flags     token flags (hexadecimal) that C_GetTokenInfo shows beside the true ones
 *   crash     C_Decrypt ends the process
 *   log       what was called, a line each with the process: written here; `destructor` when the process ends
 *
 * PKCS11_FAULTS names the directory, PKCS11_BEHIND the module behind it. No header of PKCS#11 is needed: functions are
 * known by their place in CK_FUNCTION_LIST, and all arguments are machine words.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

typedef unsigned long word;

enum { INITIALIZE = 0, GET_TOKEN_INFO = 6, OPEN_SESSION = 12, LOGIN = 18, FIND_OBJECTS = 27, ENCRYPT_INIT = 29, ENCRYPT = 30, DECRYPT_INIT = 33, DECRYPT = 34 };
enum { OK = 0, GENERAL_ERROR = 5, FUNCTIONS = 68 };

typedef word (*function)(word, word, word, word, word);

struct list {
    unsigned char version[2];
    function functions[FUNCTIONS];
};

struct mechanism {
    word type;
    void *parameter;
    word length;
};

struct gcm {
    unsigned char *iv;
    word iv_length;
    word iv_bits;
    unsigned char *aad;
    word aad_length;
};

static struct list real, ours;
static int opened;

static const char *fault(const char *name)
{
    static __thread char path[4096];
    snprintf(path, sizeof path, "%s/%s", getenv("PKCS11_FAULTS") ? getenv("PKCS11_FAULTS") : "/nonexistent", name);
    return path;
}

/* The text in a file of the directory; 0 when there is none. */
static int said(const char *name, char *text, size_t size)
{
    FILE *file = fopen(fault(name), "r");
    if (!file)
        return 0;
    size_t length = fread(text, 1, size - 1, file);
    fclose(file);
    text[length] = 0;
    return 1;
}

static int answer(const char *name, word *code)
{
    char text[64];
    if (!said(name, text, sizeof text))
        return 0;
    *code = strtoul(text, NULL, 16);
    return 1;
}

static void note(const char *name)
{
    char line[128];
    int file = open(fault("log"), O_WRONLY | O_APPEND);
    if (file < 0)
        return;
    int length = snprintf(line, sizeof line, "%s %d\n", name, getpid());
    if (write(file, line, length) != length)
        abort();
    close(file);
}

static void hang(const char *name)
{
    while (access(fault(name), F_OK) == 0)
        usleep(5000);
}

static void delay(void)
{
    char text[64];
    hang("hang");
    if (said("slow", text, sizeof text))
        usleep(1000 * strtoul(text, NULL, 10));
}

static word initialize(word a, word b, word c, word d, word e)
{
    note("C_Initialize");
    hang("hang-start");
    return real.functions[INITIALIZE](a, b, c, d, e);
}

static word get_token_info(word slot, word info, word c, word d, word e)
{
    word flags = 0, code = real.functions[GET_TOKEN_INFO](slot, info, c, d, e);
    if (opened && answer("token-info-once", &flags)) {
        unlink(fault("token-info-once"));
        return flags;
    }
    /* Behind label, manufacturer, model and serial number. */
    if (code == OK && answer("flags", &flags))
        *(word *)(info + 96) |= flags;
    return code;
}

static word open_session(word slot, word flags, word c, word d, word session)
{
    opened = 1;
    return real.functions[OPEN_SESSION](slot, flags, c, d, session);
}

static word login(word session, word user, word pin, word length, word e)
{
    word code;
    note("C_Login");
    hang("hang-login");
    return answer("login", &code) ? code : real.functions[LOGIN](session, user, pin, length, e);
}

static word find_objects(word session, word objects, word most, word count, word e)
{
    word code;
    if (answer("find-once", &code)) {
        unlink(fault("find-once"));
        return code;
    }
    return answer("find", &code) ? code : real.functions[FIND_OBJECTS](session, objects, most, count, e);
}

static void ignore_aad(word mechanism)
{
    struct gcm *gcm = ((struct mechanism *)mechanism)->parameter;
    if (access(fault("no-aad"), F_OK) == 0)
        gcm->aad_length = 0;
}

static word decrypt_init(word session, word mechanism, word key, word d, word e)
{
    ignore_aad(mechanism);
    return real.functions[DECRYPT_INIT](session, mechanism, key, d, e);
}

static word encrypt_init(word session, word mechanism, word key, word d, word e)
{
    char text[64];
    ignore_aad(mechanism);
    if (said("iv", text, sizeof text)) {
        struct gcm *gcm = ((struct mechanism *)mechanism)->parameter;
        if (strncmp(text, "same", 4) == 0)
            memset(gcm->iv, 7, gcm->iv_length);
        else if (getrandom(gcm->iv, gcm->iv_length, 0) != (ssize_t)gcm->iv_length)
            return GENERAL_ERROR;
    }
    return real.functions[ENCRYPT_INIT](session, mechanism, key, d, e);
}

static word encrypt(word session, word in, word in_length, word out, word out_length)
{
    word code;
    /* A call for the length alone is none. */
    if (out) {
        note("C_Encrypt");
        delay();
        if (answer("encrypt", &code)) {
            real.functions[ENCRYPT](session, in, in_length, out, out_length);
            return code;
        }
    }
    return real.functions[ENCRYPT](session, in, in_length, out, out_length);
}

static word decrypt(word session, word in, word in_length, word out, word out_length)
{
    word code;
    if (out) {
        note("C_Decrypt");
        delay();
        if (access(fault("crash"), F_OK) == 0)
            abort();
        if (answer("decrypt", &code)) {
            real.functions[DECRYPT](session, in, in_length, out, out_length);
            return code;
        }
    }
    return real.functions[DECRYPT](session, in, in_length, out, out_length);
}

/* What a library leaves for the end of the process. */
__attribute__((destructor)) static void end(void)
{
    note("destructor");
}

word C_GetFunctionList(struct list **list)
{
    void *library = dlopen(getenv("PKCS11_BEHIND"), RTLD_NOW | RTLD_LOCAL);
    word (*theirs)(struct list **) = library ? (word (*)(struct list **))dlsym(library, "C_GetFunctionList") : NULL;
    struct list *found;
    if (!theirs || theirs(&found) != OK)
        return GENERAL_ERROR;
    real = ours = *found;
    ours.functions[INITIALIZE] = initialize;
    ours.functions[GET_TOKEN_INFO] = get_token_info;
    ours.functions[OPEN_SESSION] = open_session;
    ours.functions[LOGIN] = login;
    ours.functions[FIND_OBJECTS] = find_objects;
    ours.functions[ENCRYPT_INIT] = encrypt_init;
    ours.functions[ENCRYPT] = encrypt;
    ours.functions[DECRYPT_INIT] = decrypt_init;
    ours.functions[DECRYPT] = decrypt;
    *list = &ours;
    return OK;
}

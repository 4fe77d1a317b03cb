/* The floor: the cost of the kernel alone for a batch of datagrams, in and out. Sets QR and sends each datagram back. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define BATCH 64
#define ROOM 512

int main(int argc, char **argv) {
  static char data[BATCH][ROOM];
  static struct sockaddr_in names[BATCH];
  static struct iovec vectors[BATCH];
  static struct mmsghdr messages[BATCH];
  struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons(argc > 1 ? atoi(argv[1]) : 0) };
  int fd = socket(AF_INET, SOCK_DGRAM, 0);
  inet_pton(AF_INET, "127.0.0.1", &at.sin_addr);
  if (bind(fd, (struct sockaddr *)&at, sizeof at) != 0) return 1;
  for (;;) {
    for (int i = 0; i < BATCH; i++) {
      vectors[i] = (struct iovec){ data[i], ROOM };
      memset(&messages[i], 0, sizeof messages[i]);
      messages[i].msg_hdr = (struct msghdr){ .msg_name = &names[i], .msg_namelen = sizeof names[i], .msg_iov = &vectors[i], .msg_iovlen = 1 };
    }
    int received = recvmmsg(fd, messages, BATCH, MSG_WAITFORONE, NULL);
    for (int i = 0; i < received; i++) {
      data[i][2] |= 0x80;
      vectors[i].iov_len = messages[i].msg_len;
    }
    for (int sent = 0; sent < received;) {
      int now = sendmmsg(fd, messages + sent, received - sent, 0);
      if (now > 0) sent += now;
    }
  }
}

namespace VmLab.Guests.Channel;

/// <summary>Where the agent's code and variables lie in its process, and the numbers it shares with Linux.</summary>
/// <remarks>Source: Linux, arch/x86/entry/syscalls/syscall_64.tbl;
/// include/uapi/asm-generic/{fcntl,poll,signal,termbits,ioctls}.h.</remarks>
static class AgentLayout
{
    public const ulong CodeBase = 0x40_0000, DataBase = 0x60_0000;

    // Variables, all zero at the start. Addresses below 2 GiB, so that instructions hold them whole.
    public const uint NullFile = (uint)DataBase,        // int
                      FrameLength = NullFile + 4,       // int
                      FrameChecksum = FrameLength + 4,  // uint, as it runs
                      EscapePending = FrameChecksum + 4,// EscapeBit or 0
                      Taken = EscapePending + 4,        // uint: bytes read from the line
                      TakenReported = Taken + 4,        // uint
                      WaitStatus = TakenReported + 4,   // int
                      OutputPipe = WaitStatus + 4,      // int[2]: read end, write end
                      ErrorPipe = OutputPipe + 8,       // int[2]
                      Pointers = ErrorPipe + 8 + 4,     // char *[8]: a command's arguments and environment; aligned
                      Header = Pointers + 64,           // uint[3] of the frame being sent
                      SignalInfo = Header + 16,         // struct signalfd_siginfo
                      FileStatus = SignalInfo + 128,    // struct stat
                      Jobs = FileStatus + 144,          // Job[MostJobs]
                      Polls = Jobs + MostJobs * JobSize,    // struct pollfd[PollCount]
                      Line = Polls + PollCount * PollSize,  // bytes read from the line
                      Chunk = Line + ChunkSize,             // bytes read from a pipe or file
                      Sending = Chunk + ChunkSize,          // a frame being sent, with escapes
                      Frame = Sending + SendingSize,        // the frame being received
                      DataEnd = Frame + FrameSize;

    public const int MostJobs = ChannelRequest.MostAtOnce, ChunkSize = 4096,
                     SendingSize = 2 * (ChannelFrame.HeaderSize + ChunkSize + ChannelFrame.ChecksumSize) + 2 + 14,
                     FrameSize = ChannelFrame.MostBytes + 16;

    // A job: a command, or a file on its way. While its state is not Free, the id is in use.
    public const int JobSize = 32, JobState = 0, JobId = 4, JobProcess = 8, JobFile = 12, JobCount = 16;
    public const int Free = 0, Command = 1, Lingering = 2, Reading = 3, Writing = 4;

    // struct pollfd. The first two wait for the line and for signals; then each job has two: standard output or file,
    // standard error.
    public const int PollSize = 8, PollEvents = 4, PollRevents = 6, FirstJobPoll = 2,
                     PollCount = FirstJobPoll + 2 * MostJobs;
    public const short PollIn = 1;

    public const int SysRead = 0, SysWrite = 1, SysOpen = 2, SysClose = 3, SysFstat = 5, SysPoll = 7,
                     SysRtSigprocmask = 14, SysIoctl = 16, SysDup2 = 33, SysFork = 57, SysExecve = 59, SysExit = 60,
                     SysWait4 = 61, SysKill = 62, SysFcntl = 72, SysMkdir = 83, SysFchmod = 91, SysSetsid = 112,
                     SysSignalfd4 = 289, SysPipe2 = 293;

    public const int ReadOnly = 0, WriteOnly = 1, ReadWrite = 2, Create = 0x40, Truncate = 0x200, NonBlocking = 0x800,
                     CloseOnExec = 0x8_0000, SetFlags = 4;

    public const int SetTerminalFlushing = 0x5404, BlockSignals = 0, SetSignalMask = 2, ChildChanged = 17,
                     KillSignal = 9, NoHang = 1;

    public const int FileModeOffset = 24, PermissionBits = 0xFFF, FileTypeBits = 0xF000, DirectoryType = 0x4000;

    public const int Interrupted = 4, InputOutput = 5, TryAgain = 11, IsDirectory = 21;
}

using Iced.Intel;
using static Iced.Intel.AssemblerRegisters;
using static VmLab.Guests.Channel.AgentLayout;

namespace VmLab.Guests.Channel;

/// <summary>Assembles the agent: the small static Linux program that serves the command channel in the guest.</summary>
/// <remarks>
/// One process, one loop around poll, no library: a command costs the guest one fork and one exec, and no shell touches
/// what it writes. It speaks the frames of <see cref="ChannelFrame"/> on its standard input and output, which init
/// makes the second serial port, and runs as it is on any x86-64 Linux. Arguments of routines are in the comment before
/// each; rbx, rbp and r12 to r15 keep their values over calls, unless a comment says otherwise. A result is in eax, and
/// negative for an error, as Linux has it. Source: System V ABI, AMD64 supplement, §3.2 and §A.2.
/// </remarks>
/// <param name="a">What it is written with.</param>
sealed partial class AgentProgram(Assembler a)
{
    public const uint ProtocolVersion = 1;

    /// <summary>Bytes taken between two reports of how many there were.</summary>
    public const int ReportEvery = 16 << 10;

    // struct termios: raw, eight bits, 115200 baud, no modem lines; a read returns as soon as there is a byte.
    const uint RawCharacters = 0x1000 | 0x0002 | 0x0030 | 0x0080 | 0x0800;
    const int TermiosSize = 36, ControlFlagsOffset = 8, LeastBytesOffset = 17 + 6;

    const ulong CodeStart = CodeBase + ElfHeaders.Size;

    Label _send = a.CreateLabel(), _stuff = a.CreateLabel(), _receive = a.CreateLabel(), _handle = a.CreateLabel(),
          _reap = a.CreateLabel(), _pump = a.CreateLabel(), _readLine = a.CreateLabel(), _exit = a.CreateLabel(),
          _fail = a.CreateLabel(), _findJob = a.CreateLabel(), _newJob = a.CreateLabel(), _busy = a.CreateLabel();

    Label _terminal = a.CreateLabel(), _childMask = a.CreateLabel(), _noMask = a.CreateLabel(),
          _checksums = a.CreateLabel(), _shellPath = a.CreateLabel(), _shellName = a.CreateLabel(),
          _shellFlag = a.CreateLabel(), _nullPath = a.CreateLabel(), _home = a.CreateLabel(), _path = a.CreateLabel(),
          _terminalName = a.CreateLabel();

    /// <summary>Returns the agent as an ELF executable, always the same bytes.</summary>
    public static byte[] Build()
    {
        var program = new AgentProgram(new Assembler(64));
        return ElfHeaders.Wrap(program.Assemble(), CodeBase, DataBase, DataEnd - DataBase);
    }

    byte[] Assemble()
    {
        WriteStart();
        WriteReadLine();
        WriteReceive();
        WriteSend();
        WriteStuff();
        WriteReap();
        WritePump();
        WriteHandle();
        WriteJobs();
        WriteData();
        using var code = new MemoryStream();
        a.Assemble(new StreamCodeWriter(code), CodeStart);
        return code.ToArray();
    }

    // Linux enters with zero in every register but rsp.
    void WriteStart()
    {
        a.xor(edi, edi);                                        // make the line raw and drop what came before;
        a.mov(esi, SetTerminalFlushing);                        // what is no terminal says no, which is no matter
        a.lea(rdx, __[_terminal]);
        Call(SysIoctl);

        a.lea(rdi, __[_nullPath]);
        a.mov(esi, ReadWrite | CloseOnExec);
        Call(SysOpen);
        a.mov(__dword_ptr[NullFile], eax);

        a.mov(edi, BlockSignals);                               // an ended child shows as a readable file
        a.lea(rsi, __[_childMask]);
        a.xor(edx, edx);
        a.mov(r10d, 8);
        Call(SysRtSigprocmask);
        a.mov(edi, -1);
        a.lea(rsi, __[_childMask]);
        a.mov(edx, 8);
        a.mov(r10d, CloseOnExec | NonBlocking);
        Call(SysSignalfd4);
        a.mov(ebx, eax);

        Label next = a.CreateLabel();
        a.mov(eax, Polls);                                      // no files to wait for yet; of each its input
        a.Label(ref next);
        a.mov(__dword_ptr[rax], -1);
        a.mov(__word_ptr[rax + PollEvents], PollIn);
        a.add(eax, PollSize);
        a.cmp(eax, Polls + PollCount * PollSize);
        a.jb(next);
        a.mov(__dword_ptr[Polls], 0);
        a.mov(__dword_ptr[Polls + PollSize], ebx);

        a.mov(__dword_ptr[FrameChecksum], -1);
        a.xor(esi, esi);
        SendReady();
        WriteLoop();
    }

    // Waits for the line, for ended children and for what commands write; serves each once, and waits again.
    void WriteLoop()
    {
        Label loop = a.CreateLabel(), jobs = a.CreateLabel(), job = a.CreateLabel(), error = a.CreateLabel(),
              nextJob = a.CreateLabel();
        a.Label(ref loop);
        a.mov(edi, Polls);
        a.mov(esi, PollCount);
        a.mov(edx, -1);
        Call(SysPoll);
        a.test(eax, eax);
        a.js(loop);

        a.cmp(__word_ptr[Polls + PollRevents], 0);
        a.je(jobs);
        a.call(_readLine);

        a.Label(ref jobs);
        a.mov(ebx, Jobs);
        a.mov(ebp, Polls + FirstJobPoll * PollSize);
        a.Label(ref job);
        a.cmp(__word_ptr[rbp + PollRevents], 0);
        a.je(error);
        a.mov(r12d, ebp);
        a.call(_pump);
        a.Label(ref error);
        a.cmp(__word_ptr[rbp + PollSize + PollRevents], 0);
        a.je(nextJob);
        a.lea(r12d, __[rbp + PollSize]);
        a.call(_pump);
        a.Label(ref nextJob);
        a.add(ebx, JobSize);
        a.add(ebp, 2 * PollSize);
        a.cmp(ebx, Jobs + MostJobs * JobSize);
        a.jb(job);

        a.cmp(__word_ptr[Polls + PollSize + PollRevents], 0);
        a.je(loop);
        a.mov(edi, __dword_ptr[Polls + PollSize]);
        a.mov(esi, SignalInfo);
        a.mov(edx, 128);
        Call(SysRead);
        a.call(_reap);
        a.jmp(loop);
    }

    // Reads what the line has, and hands on each byte. Ends the agent when the line has gone.
    void WriteReadLine()
    {
        Label next = a.CreateLabel(), done = a.CreateLabel();
        a.Label(ref _readLine);
        a.xor(edi, edi);
        a.mov(esi, Line);
        a.mov(edx, ChunkSize);
        Call(SysRead);
        a.cmp(eax, -Interrupted);
        a.je(done);
        a.test(eax, eax);
        a.jle(_exit);
        a.add(__dword_ptr[Taken], eax);
        a.mov(r12d, Line);
        a.lea(r13, __[r12 + rax]);
        a.Label(ref next);
        a.movzx(edi, __byte_ptr[r12]);
        a.call(_receive);
        a.inc(r12);
        a.cmp(r12, r13);
        a.jb(next);

        a.mov(edx, __dword_ptr[Taken]);
        a.mov(eax, edx);
        a.sub(eax, __dword_ptr[TakenReported]);
        a.cmp(eax, ReportEvery);
        a.jb(done);
        a.mov(__dword_ptr[TakenReported], edx);
        a.xor(esi, esi);
        SendEmpty(ChannelKind.Taken);
        a.Label(ref done);
        a.ret();

        a.Label(ref _exit);
        a.xor(edi, edi);
        Call(SysExit);
    }

    void WriteData()
    {
        byte[] terminal = new byte[TermiosSize];
        BitConverter.TryWriteBytes(terminal.AsSpan(ControlFlagsOffset), RawCharacters);
        terminal[LeastBytesOffset] = 1;
        Place(ref _terminal, terminal);
        Place(ref _childMask, BitConverter.GetBytes(1UL << (ChildChanged - 1)));
        Place(ref _noMask, new byte[8]);
        Place(
            ref _checksums,
            [.. Enumerable.Range(0, 256).SelectMany(index => BitConverter.GetBytes(ChecksumEntry((uint)index)))]);
        Place(ref _shellPath, "/bin/sh\0"u8.ToArray());
        Place(ref _shellName, "sh\0"u8.ToArray());
        Place(ref _shellFlag, "-c\0"u8.ToArray());
        Place(ref _nullPath, "/dev/null\0"u8.ToArray());
        Place(ref _home, "HOME=/root\0"u8.ToArray());
        Place(ref _path, "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\0"u8.ToArray());
        Place(ref _terminalName, "TERM=dumb\0"u8.ToArray());
    }

    void Place(ref Label label, byte[] bytes)
    {
        a.Label(ref label);
        a.db(bytes);
    }

    static uint ChecksumEntry(uint remainder)
    {
        const uint Polynomial = 0xEDB8_8320;
        for (int bit = 0; bit < 8; bit++) remainder = remainder >> 1 ^ ((remainder & 1) != 0 ? Polynomial : 0);
        return remainder;
    }

    // A system call; it changes rcx and r11.
    void Call(int number)
    {
        a.mov(eax, number);
        a.syscall();
    }

    // esi: 0 at the start, 1 in answer to a Hello.
    void SendReady()
    {
        a.mov(edx, ProtocolVersion);
        SendEmpty(ChannelKind.Ready);
    }
}

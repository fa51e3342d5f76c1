using Iced.Intel;
using static Iced.Intel.AssemblerRegisters;

namespace VmLab.X86.Oracle;

/// <summary>
/// A static Linux program that runs cases on the host's processor: its one signal handler stores the case that just ended, puts
/// the next one's registers into the signal frame, and returns into it with the trap flag set, or with a breakpoint behind it.
/// </summary>
/// <remarks>
/// A case thus costs a signal, not a round of ptrace. System calls of a case are turned into SIGSYS by a filter that lets only this
/// program's own pass. The file of its first argument is mapped at <see cref="Shared"/>: a page whose first word is the number of
/// cases, the code pages, the page of read-only data, then the cases. A byte read from standard input starts a batch, a byte
/// written to standard output ends it; the end of standard input ends the program.
/// Source: Linux' uapi headers asm/sigcontext.h, asm/ucontext.h, linux/seccomp.h; System V ABI, AMD64 supplement.
/// </remarks>
static class HostProgram
{
    public const ulong Base = 0x6000_0000_0000, Shared = 0x6100_0000_0000;
    public const int CodeAt = 0x1000, ReadOnlyAt = CodeAt + CaseLayout.CodeSize, CasesAt = 0x4000;

    const ulong Variables = 0x6200_0000_0000, Current = Variables, Remaining = Variables + 8, Byte = Variables + 16,
        SignalStack = Variables + 0x1000;
    const int VariablesSize = 0x1000, SignalStackSize = 0x1_0000;

    // System calls.
    const int SysRead = 0, SysWrite = 1, SysOpen = 2, SysMmap = 9, SysMprotect = 10, SysRtSigaction = 13, SysRtSigreturn = 15,
        SysExit = 60, SysSigaltstack = 131, SysPrctl = 157;

    const int ProtRead = 1, ProtWrite = 2, ProtExec = 4;
    const int MapShared = 1, MapPrivate = 2, MapFixed = 0x10, MapAnonymous = 0x20, MapPopulate = 0x8000;
    const int NoNewPrivileges = 38, SetSeccomp = 22, FilterMode = 2;
    const uint HandlerFlags = 0x0C00_0004;   // SA_SIGINFO, SA_ONSTACK, SA_RESTORER

    // The signal frame: registers in struct sigcontext behind the first 40 bytes of struct ucontext.
    const int ContextRip = 168, ContextFlags = 176, ContextCs = 184, ContextSs = 190, ContextError = 192, ContextTrap = 200,
        ContextCr2 = 216, ContextFloats = 224;

    /// <summary>Offsets of RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8 to R15 in the frame.</summary>
    static readonly int[] s_contextGpr = [144, 152, 136, 128, 160, 120, 112, 104, 40, 48, 56, 64, 72, 80, 88, 96];

    // SIGILL, SIGTRAP, SIGBUS, SIGFPE, SIGSEGV, SIGSYS.
    static readonly int[] s_signals = [4, 5, 7, 8, 11, 31];

    const int HeaderOfStates = 512;   // XSTATE_BV, behind the image of FXSAVE
    const int X87AndSse = 3;

    /// <param name="sharedSize">Bytes of the shared file.</param>
    /// <returns>An ELF file.</returns>
    public static byte[] Build(int sharedSize)
    {
        var code = new Assembler(64);
        Label handler = code.CreateLabel(), filter = code.CreateLabel();
        code.mov(rdi, __qword_ptr[rsp + 16]);   // the first argument
        code.mov(esi, 2);
        Call(code, SysOpen);
        code.mov(r8, rax);
        Map(code, Shared, sharedSize, ProtRead | ProtWrite, MapShared | MapFixed, 0);
        Map(code, CaseLayout.Code, CaseLayout.CodeSize, ProtRead | ProtExec, MapShared | MapFixed, CodeAt);
        Map(code, CaseLayout.ReadOnlyData, CaseLayout.PageSize, ProtRead, MapShared | MapFixed, ReadOnlyAt);
        code.mov(r8, -1);
        const int Own = MapPrivate | MapFixed | MapAnonymous;
        Map(code, CaseLayout.Data, CaseLayout.WritableSize, ProtRead | ProtWrite, Own, 0);
        Map(code, Variables, VariablesSize + SignalStackSize, ProtRead | ProtWrite, Own, 0);
        SetSignals(code, handler);
        SetFilter(code, filter);
        code.ud2();   // into the handler, which finds no case yet

        code.Label(ref handler);
        WriteHandler(code);
        code.Label(ref filter);
        WriteFilter(code);
        using var bytes = new MemoryStream();
        code.Assemble(new StreamCodeWriter(bytes), Base + ElfFile.HeaderSize);
        return ElfFile.Wrap(bytes.ToArray(), Base);
    }

    static void Call(Assembler code, int number)
    {
        code.mov(eax, number);
        code.syscall();
    }

    static void Map(Assembler code, ulong address, int size, int protection, int flags, int offset)
    {
        code.mov(rdi, address);
        code.mov(esi, size);
        code.mov(edx, protection);
        code.mov(r10d, flags | MapPopulate);
        code.mov(r9d, offset);
        Call(code, SysMmap);
    }

    static void SetSignals(Assembler code, Label handler)
    {
        code.xor(eax, eax);
        code.push(SignalStackSize);
        code.push(rax);
        code.mov(rax, SignalStack);
        code.push(rax);
        code.mov(rdi, rsp);
        code.xor(esi, esi);
        Call(code, SysSigaltstack);
        foreach (int signal in s_signals)
        {
            code.push(0);                     // no other signals blocked
            code.lea(rax, __[handler]);
            code.push(rax);                   // the restorer, which nobody returns to
            code.push((int)HandlerFlags);
            code.push(rax);
            code.mov(edi, signal);
            code.mov(rsi, rsp);
            code.xor(edx, edx);
            code.mov(r10d, 8);
            Call(code, SysRtSigaction);
        }
    }

    static void SetFilter(Assembler code, Label filter)
    {
        code.mov(edi, NoNewPrivileges);
        code.mov(esi, 1);
        code.xor(edx, edx);
        code.xor(r10d, r10d);
        code.xor(r8d, r8d);
        Call(code, SysPrctl);
        code.lea(rax, __[filter]);
        code.push(rax);
        code.push(4);   // instructions
        code.mov(edi, SetSeccomp);
        code.mov(esi, FilterMode);
        code.mov(rdx, rsp);
        Call(code, SysPrctl);
    }

    /// <summary>Classic BPF: a call from this program's own 4 GiB passes, any other becomes SIGSYS.</summary>
    static void WriteFilter(Assembler code)
    {
        const ushort LoadWord = 0x20, JumpIfEqual = 0x15, Return = 0x06;
        const uint UpperInstructionPointer = 12, Allow = 0x7FFF_0000, Trap = 0x0003_0000;
        (ushort Code, byte Jump, uint Value)[] program =
        [
            (LoadWord, 0, UpperInstructionPointer),
            (JumpIfEqual, 1, (uint)(Base >> 32)),   // if not, one further
            (Return, 0, Allow),
            (Return, 0, Trap),
        ];
        foreach (var (operation, otherwise, value) in program)
        {
            code.dw(operation);
            code.db(0, otherwise);
            code.dd(value);
        }
    }

    static void WriteHandler(Assembler code)
    {
        Label load = code.CreateLabel(), wait = code.CreateLabel(), end = code.CreateLabel();
        code.push(2);
        code.popfq();   // no alignment checks, no leftovers
        code.mov(r15, rdx);
        code.mov(r14, __qword_ptr[r15 + ContextFloats]);
        code.mov(r13, Variables);
        code.mov(rbx, __qword_ptr[r13]);
        code.test(rbx, rbx);
        code.je(wait);
        Store(code);
        code.add(rbx, CpuImage.Size);
        code.dec(__qword_ptr[r13 + (int)(Remaining - Variables)]);
        code.jne(load);

        code.Label(ref wait);
        code.mov(edi, 1);
        code.mov(rsi, Byte);
        code.mov(edx, 1);
        Call(code, SysWrite);
        code.xor(edi, edi);
        code.mov(rsi, Byte);
        code.mov(edx, 1);
        Call(code, SysRead);
        code.cmp(eax, 1);
        code.jne(end);
        code.mov(rbx, Shared);
        code.mov(rax, __qword_ptr[rbx]);
        code.mov(__qword_ptr[r13 + (int)(Remaining - Variables)], rax);
        code.add(rbx, CasesAt);

        code.Label(ref load);
        code.mov(__qword_ptr[r13], rbx);
        Load(code);
        code.mov(rsp, r15);
        Call(code, SysRtSigreturn);

        code.Label(ref end);
        code.xor(edi, edi);
        Call(code, SysExit);
    }

    /// <summary>From the frame to the case at RBX.</summary>
    static void Store(Assembler code)
    {
        code.mov(edi, edi);
        code.mov(__qword_ptr[rbx + CpuImage.SignalOffset], rdi);
        for (int i = 0; i < 16; i++) Move(code, rbx + CpuImage.GprOffset + 8 * i, r15 + s_contextGpr[i]);
        foreach (var (frame, image) in (ReadOnlySpan<(int, int)>)
            [(ContextRip, CpuImage.RipOffset), (ContextFlags, CpuImage.FlagsOffset), (ContextTrap, CpuImage.VectorOffset),
                (ContextError, CpuImage.ErrorOffset), (ContextCr2, CpuImage.AddressOffset)])
            Move(code, rbx + image, r15 + frame);
        StoreSelectors(code);
        code.rdfsbase(rax);
        code.mov(__qword_ptr[rbx + CpuImage.FsBaseOffset], rax);
        code.rdgsbase(rax);
        code.mov(__qword_ptr[rbx + CpuImage.GsBaseOffset], rax);
        code.mov(rsi, r14);
        code.lea(rdi, __[rbx + CpuImage.ExtendedOffset]);
        Copy(code, CpuImage.ExtendedLength);
        code.mov(rsi, CaseLayout.Data);
        code.lea(rdi, __[rbx + CpuImage.MemoryOffset]);
        Copy(code, CaseLayout.WritableSize);
        SetCodeTarget(code);
        code.mov(rax, CaseLayout.Filler * 0x0101_0101_0101_0101UL);
        code.mov(ecx, CpuImage.CodeLength / 8);
        code.rep.stosq();
    }

    /// <summary>From the case at RBX to the frame.</summary>
    static void Load(Assembler code)
    {
        for (int i = 0; i < 16; i++) Move(code, r15 + s_contextGpr[i], rbx + CpuImage.GprOffset + 8 * i);
        Move(code, r15 + ContextRip, rbx + CpuImage.RipOffset);
        Move(code, r15 + ContextFlags, rbx + CpuImage.FlagsOffset);
        code.lea(rsi, __[rbx + CpuImage.ExtendedOffset]);
        code.mov(rdi, r14);
        Copy(code, CpuImage.ExtendedLength);
        code.or(__qword_ptr[r14 + HeaderOfStates], X87AndSse);
        code.lea(rsi, __[rbx + CpuImage.MemoryOffset]);
        code.mov(rdi, CaseLayout.Data);
        Copy(code, CaseLayout.WritableSize);
        SetCodeTarget(code);
        code.lea(rsi, __[rbx + CpuImage.CodeOffset]);
        Copy(code, CpuImage.CodeLength);
        LoadSelectors(code);
        code.mov(rax, __qword_ptr[rbx + CpuImage.FsBaseOffset]);
        code.wrfsbase(rax);
        code.mov(rax, __qword_ptr[rbx + CpuImage.GsBaseOffset]);
        code.wrgsbase(rax);
    }

    static void StoreSelectors(Assembler code)
    {
        foreach (var (segment, register) in s_segments)
        {
            code.mov(ax, register);
            code.mov(Selector(segment), ax);
        }
        code.mov(ax, __word_ptr[r15 + ContextCs]);
        code.mov(Selector(Segment.Cs), ax);
        code.mov(ax, __word_ptr[r15 + ContextSs]);
        code.mov(Selector(Segment.Ss), ax);
    }

    static void LoadSelectors(Assembler code)
    {
        foreach (var (segment, register) in s_segments)
        {
            code.mov(ax, Selector(segment));
            code.mov(register, ax);
        }
        code.mov(ax, Selector(Segment.Cs));
        code.mov(__word_ptr[r15 + ContextCs], ax);
        code.mov(ax, Selector(Segment.Ss));
        code.mov(__word_ptr[r15 + ContextSs], ax);
    }

    static readonly (int Segment, AssemblerRegisterSegment Register)[] s_segments =
        [(Segment.Ds, ds), (Segment.Es, es), (Segment.Fs, fs), (Segment.Gs, gs)];

    static AssemblerMemoryOperand Selector(int segment) => __word_ptr[rbx + CpuImage.SelectorsOffset + 2 * segment];

    /// <summary>RDI: where the case's code is written.</summary>
    static void SetCodeTarget(Assembler code)
    {
        code.mov(rdi, Shared + CodeAt - CaseLayout.Code);
        code.add(rdi, __qword_ptr[rbx + CpuImage.CodeAddressOffset]);
    }

    static void Move(Assembler code, AssemblerMemoryOperand target, AssemblerMemoryOperand source)
    {
        code.mov(rax, __qword_ptr[source]);
        code.mov(__qword_ptr[target], rax);
    }

    static void Copy(Assembler code, int bytes)
    {
        code.mov(ecx, bytes / 8);
        code.rep.movsq();
    }
}

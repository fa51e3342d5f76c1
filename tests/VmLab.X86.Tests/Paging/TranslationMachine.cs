using Iced.Intel;
using VmLab.X86.Tests.Guests;
using static Iced.Intel.AssemblerRegisters;
using static VmLab.X86.Tests.Guests.VcpuFixture;

namespace VmLab.X86.Tests.Paging;

/// <summary>
/// A guest that makes one access at a time in the paging mode of one's choice, as the supervisor or as a user, and
/// halts.
/// </summary>
/// <remarks>
/// Its own code, stack and descriptor tables lie below 4 MiB, mapped where they lie through tables that stay. The
/// linear addresses from <see cref="Base"/> on go through the tables of a pool.
/// </remarks>
sealed unsafe class TranslationMachine : IDisposable
{
    public const ulong Tables = 0x60_0000, Frames = 0x70_0000;
    public const int TableCount = 5, FrameCount = 4;

    /// <summary>Where in a frame the supervisor and a user find code to end an access with.</summary>
    public const ulong SupervisorEnd = 0xF00, UserEnd = 0xF10;

    const ulong LegacyRoot = 0x20_0000, OtherLegacyRoot = 0x20_1000, LegacyTables = 0x20_2000, OtherRoot = 0x20_8000;
    const byte Done = 0x80;
    const ulong StubBytes = 32;

    static readonly string[] s_stubs = ["read", "write", "fetch", "cr0", "cr3", "cr4", "wrmsr", "user"];

    readonly VcpuFixture _pc = new();
    readonly bool _isLong;

    public TranslationMachine(PagingMode mode)
    {
        Mode = mode;
        _isLong = mode == PagingMode.FourLevel;
        Roots = mode == PagingMode.FourLevel ? [RootTable, OtherRoot]
            : mode == PagingMode.Pae ? [LegacyRoot + 0x20, LegacyRoot + 0x40]
            : [LegacyRoot, OtherLegacyRoot];
        if (_isLong) StartLong();
        else StartLegacy();
        WriteStubs();
        foreach (ulong frame in Enumerable.Range(0, FrameCount).Select(i => Frames + 0x1000 * (ulong)i))
        {
            Memory.Write(frame + SupervisorEnd, [0xF4]);
            Memory.Write(frame + UserEnd, [0xCD, Done]);
        }
        _pc.Cpu.Refresh();
    }

    public PagingMode Mode { get; }
    public Core.GuestMemory Memory => _pc.Memory;
    public CpuState* State => _pc.State;

    /// <summary>What CR3 may hold.</summary>
    public ulong[] Roots { get; }

    /// <summary>The first linear address that the pool's tables translate.</summary>
    public ulong Base => _isLong ? 0x80_0000_0000UL : 0x8000_0000UL;

    public int WordBytes => _isLong ? 8 : 4;

    /// <summary>Physical address of the entry of a root that leads to the pool.</summary>
    public ulong PoolEntryOf(ulong root) =>
        root + (Mode switch { PagingMode.FourLevel => 8UL, PagingMode.Pae => 16UL, _ => 4 * 0x200UL });

    /// <returns>The page fault's error code, or <see langword="null"/>. The value is in RAX, the address in CR2.</returns>
    public uint? Touch(ulong linear, Access access, ulong value)
    {
        string stub = access.IsFetch ? "fetch" : access.IsWrite ? "write" : "read";
        State->Gpr[Gpr.Rbx] = linear;
        State->Gpr[Gpr.Rcx] = 2 | (access.IsOpen ? Rflags.AlignmentCheck : 0);
        if (access.IsUser)
        {
            ulong[] frame = [UserPages + StubBytes * (ulong)Array.IndexOf(s_stubs, stub),
                _isLong ? UserCode : UserCode32, 2, UserPages + 0x800, UserData];
            for (int i = 0; i < frame.Length; i++)
                Store(StackTop - 0x100 + (ulong)(i * WordBytes), frame[i]);
            Run("user", value, StackTop - 0x100);
        }
        else Run(stub, value, StackTop);
        int vector = _pc.HaltedVector;
        bool isFault = State->Rip > Handlers && vector == Vector.PageFault;
        if (isFault) return (uint)Memory.Read64(State->Gpr[Gpr.Rsp]);
        bool isDone = access.IsUser ? vector == Done : State->Rip < Handlers || State->Rip >= VcpuFixture.Code;
        Assert.That(isDone, $"RIP 0x{State->Rip:X}");
        return null;
    }

    /// <summary>Loads CR0, CR3 or CR4.</summary>
    public void SetControl(int register, ulong value) => Run($"cr{register}", value, StackTop);

    public void SetEfer(ulong value)
    {
        State->Gpr[Gpr.Rcx] = Msr.Efer;
        State->Gpr[Gpr.Rdx] = 0;
        Run("wrmsr", value, StackTop);
    }

    public void Dispose() => _pc.Dispose();

    void Run(string stub, ulong rax, ulong rsp)
    {
        State->IsHalted = 0;
        State->Gpr[Gpr.Rax] = rax;
        State->Gpr[Gpr.Rsp] = rsp;
        State->Rip = VcpuFixture.Code + StubBytes * (ulong)Array.IndexOf(s_stubs, stub);
        _pc.RunToHalt(100);
        Assert.That(State->Cpl, Is.Zero);
    }

    void Store(ulong address, ulong value)
    {
        if (_isLong) Memory.Write64(address, value);
        else Memory.Write32(address, (uint)value);
    }

    void StartLong()
    {
        Memory.Write64(OtherRoot, Memory.Read64(RootTable));
        _pc.Map(UserPages, UserPages, Present | Writable | User);
        _pc.SetGate(Done, HandlerOf(Done), dpl: 3);
    }

    void StartLegacy()
    {
        _pc.Cpu.Start(isLong: false, VcpuFixture.Code, 0, Gdt, 0x47, KernelCode32, UserData);
        State->SegmentRights[Segment.Ds] = State->SegmentRights[Segment.Es] = 0xC0F3;
        State->SegmentSelectors[Segment.Ss] = KernelData;
        State->Efer = Efer.NoExecute;
        State->Cr0 |= Cr0.WriteProtect | Cr0.Paging;
        State->Cr3 = Roots[0];
        for (int vector = 0; vector < 256; vector++)
        {
            ulong target = HandlerOf((byte)vector), dpl = vector == Done ? 3UL : 0;
            Memory.Write64(Idt + 8 * (ulong)vector, target & 0xFFFF | (ulong)KernelCode32 << 16 | (0x8EUL | dpl << 5) << 40);
        }
        State->IdtLimit = 0x7FF;
        Memory.Write64(Tss + 4, KernelStackTop | (ulong)KernelData << 32);
        if (Mode == PagingMode.Pae) MapPae();
        else MapTwoLevel();
    }

    void MapTwoLevel()
    {
        for (uint i = 0; i < 2; i++)
        {
            ulong table = LegacyTables + 0x1000 * i;
            foreach (ulong root in Roots) Memory.Write32(root + 4 * i, (uint)(table | Present | Writable | User));
            for (uint j = 0; j < 1024; j++) Memory.Write32(table + 4 * j, i << 22 | j << 12 | (uint)(Present | Writable));
        }
        Memory.Write32(LegacyTables + 4 * (UserPages >> 12), (uint)(UserPages | Present | Writable | User));
    }

    void MapPae()
    {
        State->Cr4 = Cr4.PhysicalAddressExtension;
        foreach (ulong root in Roots) Memory.Write64(root, LegacyTables | Present);
        for (ulong i = 0; i < 4; i++)
        {
            ulong table = LegacyTables + 0x1000 + 0x1000 * i;
            Memory.Write64(LegacyTables + 8 * i, table | Present | Writable | User);
            for (ulong j = 0; j < 512; j++) Memory.Write64(table + 8 * j, i << 21 | j << 12 | Present | Writable);
        }
        Memory.Write64(LegacyTables + 0x1000 + 8 * (UserPages >> 12), UserPages | Present | Writable | User);
        State->DirectoryPointers[0] = LegacyTables | Present;
    }

    void WriteStubs()
    {
        for (int i = 0; i < s_stubs.Length; i++)
        {
            string stub = s_stubs[i];
            _pc.Load(code => WriteStub(code, stub, isUser: false), VcpuFixture.Code + StubBytes * (ulong)i, _isLong ? 64 : 32);
            if (i < 3)
                _pc.Load(code => WriteStub(code, stub, isUser: true), UserPages + StubBytes * (ulong)i, _isLong ? 64 : 32);
        }
    }

    void WriteStub(Assembler code, string stub, bool isUser)
    {
        bool isAccess = stub is "read" or "write" or "fetch";
        if (isAccess && !isUser) SetFlags(code);
        switch (stub)
        {
            case "read" when _isLong: code.mov(rax, __[rbx]); break;
            case "read": code.mov(eax, __[ebx]); break;
            case "write" when _isLong: code.mov(__[rbx], rax); break;
            case "write": code.mov(__[ebx], eax); break;
            case "fetch" when _isLong: code.jmp(rbx); break;
            case "fetch": code.jmp(ebx); break;
            case "wrmsr": code.wrmsr(); break;
            case "user" when _isLong: code.iretq(); break;
            case "user": code.iretd(); break;
            default: LoadControl(code, stub); break;
        }
        if (isUser) code.@int(Done);
        else code.hlt();
    }

    void SetFlags(Assembler code)
    {
        if (_isLong) code.push(rcx);
        else code.push(ecx);
        if (_isLong) code.popfq();
        else code.popfd();
    }

    void LoadControl(Assembler code, string name)
    {
        AssemblerRegisterCR register = name switch { "cr0" => cr0, "cr3" => cr3, _ => cr4 };
        if (_isLong) code.mov(register, rax);
        else code.mov(register, eax);
    }
}

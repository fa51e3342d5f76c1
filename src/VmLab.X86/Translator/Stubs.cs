namespace VmLab.X86;

/// <summary>What all translated code of a processor shares: the way in, and the ways out.</summary>
unsafe struct Stubs
{
    /// <summary>Called with the state, once for each thread that comes to run it.</summary>
    public byte* Bind;

    /// <summary>Called with the state and a host address: loads the guest's registers and goes there.</summary>
    public byte* Enter;

    /// <summary>Stores the guest's registers and returns R14.</summary>
    public byte* Exit;

    /// <summary>Leaves for the block at RIP, all of it, which the engine is to look up.</summary>
    public byte* Next;

    /// <summary>As <see cref="Next"/>, to be linked to the op in R14.</summary>
    public byte* Link;

    /// <summary>
    /// Goes on at the block whose code is at the host address in R14, if the cache of blocks has it at hand; RIP is the start of its page.
    /// </summary>
    public byte* Find;

    /// <summary>Enters the block in R15, which is not translated; RIP is the start of its page.</summary>
    public byte* Interpret;

    /// <summary>Leaves after a crash at the host address in R14.</summary>
    public byte* Crash;

    // Guest registers in those of the same name, but RSP, which is in R13. R13 to R15 stay in the state.
    const ulong HashFactor = 0x9E37_79B9_7F4A_7C15;
    const int Saved = 6, LoadMxcsr = 2, StoreMxcsr = 3;

    static readonly Opcode s_mxcsr = new(0xAE, Map: 1);
    static readonly int[] s_saved = [Host.Rbx, Host.Rbp, Host.R12, Host.R13, Host.R14, Host.R15];

    public static Stubs Emit(ref Emitter e)
    {
        var stubs = new Stubs { Bind = e.At };
        e.Modrm(new(0xAE, Map: 1, Prefix: 0xF3, IsWide: true), 3, Place.Register(Host.Rdi));   // WRGSBASE
        e.Byte(0xC3);

        stubs.Enter = e.At;
        foreach (int register in s_saved) e.Short(new(0x50), register);
        e.Modrm(s_mxcsr, StoreMxcsr, Place.State(StateOffset.CallerMxcsr));
        EmitMxcsr(ref e, from: StateOffset.CallerMxcsr, to: StateOffset.HostMxcsr);
        e.Move(Host.R14, Host.Rsi);
        for (int guest = 0; guest < GuestRegister.Kept; guest++)
            e.Load(GuestRegister.HostOf(guest), GuestRegister.Home(guest));
        e.Modrm(new(0xFF), 4, Place.Register(Host.R14));

        stubs.Exit = e.At;
        for (int guest = 0; guest < GuestRegister.Kept; guest++)
            e.Store(GuestRegister.Home(guest), GuestRegister.HostOf(guest));
        e.Modrm(s_mxcsr, StoreMxcsr, Place.State(StateOffset.HostMxcsr));
        EmitMxcsr(ref e, from: StateOffset.HostMxcsr, to: StateOffset.CallerMxcsr);
        e.Move(Host.Rax, Host.R14);
        for (int i = Saved - 1; i >= 0; i--) e.Short(new(0x58), s_saved[i]);
        e.Byte(0xC3);

        stubs.Link = e.At;
        e.Store(Place.State(StateOffset.Left), Host.R14);
        EmitLeave(ref e, Leave.Link, stubs.Exit);

        stubs.Next = e.At;
        EmitLeave(ref e, Leave.Next, stubs.Exit);

        stubs.Crash = e.At;
        e.Store(Place.State(StateOffset.CrashedAt), Host.R14);
        EmitLeave(ref e, Leave.Crash, stubs.Exit);

        stubs.Find = e.At;
        e.Modrm(new(0x0B, IsWide: true), Host.R14, Place.State(StateOffset.ModeKey));          // OR: the key
        e.MoveImmediate(Host.R15, HashFactor);
        e.Modrm(new(0xAF, Map: 1, IsWide: true), Host.R15, Place.Register(Host.R14));          // IMUL
        e.Modrm(new(0xC1, IsWide: true), 5, Place.Register(Host.R15));                         // SHR
        e.Byte(64 - CodeKey.CacheBits);
        e.Modrm(new(0xC1, IsWide: true), 4, Place.Register(Host.R15));                         // SHL
        e.Byte(System.Numerics.BitOperations.Log2((uint)sizeof(BlockSlot)));
        e.Modrm(new(0x03, IsWide: true), Host.R15, Place.State(StateOffset.BlockCache));
        e.Modrm(new(0x3B, IsWide: true), Host.R14, Place.At(Host.R15));                        // CMP
        byte* isMiss = e.JumpIf(Condition.NotEqual);
        e.Load(Host.R15, Place.At(Host.R15, 8));
        e.JumpThrough(Place.At(Host.R15, NativeOffset));
        e.Land(isMiss);
        EmitMove(ref e);
        e.Jump(stubs.Next);

        stubs.Interpret = e.At;
        e.Load(Host.R14, Place.At(Host.R15, KeyOffset));
        EmitMove(ref e);
        e.Modrm(new(0x63, IsWide: true), Host.R14, Place.At(Host.R15, CountOffset));           // MOVSXD
        e.Modrm(new(0x29, IsWide: true), Host.R14, Place.State(StateOffset.Budget));           // SUB
        byte* isShort = e.JumpIf(Condition.Sign);
        e.Lea(Host.R14, Host.R15, -1, 0, sizeof(Block));
        e.Jump(stubs.Exit);
        e.Land(isShort);
        e.Modrm(new(0x01, IsWide: true), Host.R14, Place.State(StateOffset.Budget));           // ADD
        e.Jump(stubs.Next);
        return stubs;
    }

    /// <summary>Where in a block its key, its count and its translation stand.</summary>
    public static readonly int KeyOffset = 0, CountOffset = 8, NativeOffset = 16;

    /// <summary>Adds the place in its page of the key in R14 to RIP.</summary>
    static void EmitMove(ref Emitter e)
    {
        e.Immediate(Operation.And, Place.Register(Host.R14), 0xFFF, isWide: false);
        e.Modrm(new(0x01, IsWide: true), Host.R14, Place.State(StateOffset.Rip));
    }

    /// <summary>Loads MXCSR if it is to be another; it costs more than the question. RAX and flags are lost.</summary>
    static void EmitMxcsr(ref Emitter e, int from, int to)
    {
        e.Modrm(new(0x8B), Host.Rax, Place.State(from));
        e.Modrm(new(0x3B), Host.Rax, Place.State(to));
        byte* isSame = e.JumpIf(Condition.Equal);
        e.Modrm(s_mxcsr, LoadMxcsr, Place.State(to));
        e.Land(isSame);
    }

    static void EmitLeave(ref Emitter e, Leave reason, byte* exit)
    {
        e.Modrm(new(0xC6, IsByte: true), 0, Place.State(StateOffset.Leave));                   // MOV
        e.Byte((int)reason);
        e.MoveImmediate(Host.R14, 0);
        e.Jump(exit);
    }
}

/// <summary>Where translated code keeps the guest's registers.</summary>
static class GuestRegister
{
    /// <summary>How many have a register of the host; the others stay in the state.</summary>
    public const int Kept = 13;

    /// <returns>-1 for one that stays in the state.</returns>
    public static int HostOf(int guest) => guest == Gpr.Rsp ? Host.R13 : guest < Kept ? guest : -1;

    /// <summary>Its place in the state.</summary>
    public static Place Home(int guest) => Place.State(CpuState.GprOffset + 8 * guest);
}

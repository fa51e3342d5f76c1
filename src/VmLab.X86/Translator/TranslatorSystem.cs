using Iced.Intel;

namespace VmLab.X86;

// Instructions of system code that are frequent, and need nothing but the state.
sealed unsafe partial class Translator
{
    static bool IsSystem(in Instruction i) => i.Code switch
    {
        Code.Rdtsc or Code.Rdtscp or Code.Cli or Code.Pushfq => true,
        Code.Cmpxchg16b_m128 => HasAddress(i),
        _ => false,
    };

    void EmitSystem(in Instruction i, Op* op)
    {
        switch (i.Mnemonic)
        {
            case Mnemonic.Rdtsc or Mnemonic.Rdtscp: EmitTimeStamp(i, op); break;
            case Mnemonic.Cli: EmitClearInterrupts(op); break;
            case Mnemonic.Pushfq: EmitPushFlags(op); break;
            case Mnemonic.Cmpxchg16b: EmitExchange(i, op); break;
        }
    }

    /// <summary>RDTSC and RDTSCP: machine time, with what is left of the block still in the budget.</summary>
    void EmitTimeStamp(in Instruction i, Op* op)
    {
        GuardFlags();
        _flags = _flags.Clobbered;
        _e.Modrm(new(0xF6, IsByte: true), 0, Place.State(StateOffset.Cr4));                         // TEST
        _e.Byte((int)Cr4.TimeStampDisable);
        ExitIf(Condition.NotEqual, op);
        _e.Load(Host.Rdx, Place.State(StateOffset.Deadline));
        _e.Modrm(new(0x2B, IsWide: true), Host.Rdx, Place.State(StateOffset.Budget));               // SUB
        _e.Modrm(new(0x03, IsWide: true), Host.Rdx, Place.State(StateOffset.TscOffset));            // ADD
        _e.Lea(Host.Rdx, Host.Rdx, -1, 0, -(op->After + 1));
        _e.Modrm(new(0x8B), Host.Rax, Place.Register(Host.Rdx));
        _e.Modrm(new(0xC1, IsWide: true), 5, Place.Register(Host.Rdx));                             // SHR
        _e.Byte(32);
        if (i.Mnemonic == Mnemonic.Rdtscp) _e.Modrm(new(0x8B), Host.Rcx, Place.State(StateOffset.TscAux));
    }

    /// <summary>CLI at the most privileged level; elsewhere IOPL decides.</summary>
    void EmitClearInterrupts(Op* op)
    {
        EmitPrivilegeTest(op);
        _e.Immediate(Operation.And, Place.State(StateOffset.SystemFlags), ~(int)Rflags.Interrupt);
    }

    void EmitPrivilegeTest(Op* op)
    {
        GuardFlags();
        _flags = _flags.Clobbered;
        _e.Modrm(new(0x80, IsByte: true), Operation.Cmp, Place.State(StateOffset.Cpl));
        _e.Byte(0);
        ExitIf(Condition.NotEqual, op);
    }

    void EmitPushFlags(Op* op)
    {
        SaveFlags();
        _e.Lea(Host.R14, Host.R13, -1, 0, -8);
        EmitLookup(WriteTag, 8, op);
        _e.Load(Host.R15, Place.State(StateOffset.SystemFlags));
        _e.Immediate(Operation.And, Place.Register(Host.R15), ~(int)(Rflags.Resume | Rflags.Virtual8086));
        _e.Immediate(Operation.Or, Place.Register(Host.R15), (int)Rflags.Fixed);
        _e.Store(Place.At(Host.R14), Host.R15);
        _e.Modrm(new(0xB6, Map: 1), Host.R15, Place.State(StateOffset.HostFlags));                  // MOVZX: OF
        _e.Modrm(new(0xC1), 4, Place.Register(Host.R15));                                           // SHL
        _e.Byte(11);
        _e.Modrm(new(0x09, IsWide: true), Host.R15, Place.At(Host.R14));                            // OR
        _e.Modrm(new(0xB6, Map: 1), Host.R15, Place.State(StateOffset.HostFlags + 1));              // MOVZX: the others
        _e.Modrm(new(0x09, IsWide: true), Host.R15, Place.At(Host.R14));                            // OR
        _e.Lea(Host.R13, Host.R13, -1, 0, -8);
    }

    /// <summary>CMPXCHG16B, whose registers are here what they are in the guest.</summary>
    void EmitExchange(in Instruction i, Op* op)
    {
        SaveFlags();
        EmitAccess(i, WriteTag, 16, op);
        EmitAlignmentTest(op);
        RestoreFlags();
        _e.Modrm(new(0xC7, Map: 1, IsWide: true), 1, Place.At(Host.R14));
        _flags = FlagTracker.Fresh;
    }
}

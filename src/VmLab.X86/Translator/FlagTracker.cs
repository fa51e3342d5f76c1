using Iced.Intel;

namespace VmLab.X86;

/// <summary>Where the guest's arithmetic flags are at a point of a translation: at one place at least, if anybody can see them.</summary>
/// <param name="InHost">The host's own flags are the guest's, but for <paramref name="Wrong"/>.</param>
/// <param name="Wrong">Flags that are not as the guest's.</param>
/// <param name="InState"><see cref="CpuState.HostFlags"/> has them.</param>
/// <param name="Recipe">How they can be made again.</param>
readonly record struct FlagTracker(bool InHost, RflagsBits Wrong, bool InState, FlagRecipe Recipe)
{
    public static FlagTracker AtBoundary => new(false, RflagsBits.None, true, default);

    /// <summary>An instruction of the host has left them.</summary>
    public static FlagTracker Fresh => new(true, RflagsBits.None, false, default);

    /// <summary>The host's were used for something else.</summary>
    public FlagTracker Clobbered => this with { InHost = false, Wrong = RflagsBits.None };

    public bool IsComplete => InHost && Wrong == RflagsBits.None;
}

// Moving flags between the host and the state. R15 is free wherever this is done, and R14 where they may be made again.
sealed unsafe partial class Translator
{
    static Place HostFlags => Place.State(StateOffset.HostFlags);

    /// <summary>Puts the flags into the state, where whoever the code leaves to looks for them; complete ones of the host stay.</summary>
    void SaveFlags()
    {
        if (_flags is { InState: false, InHost: true, Wrong: RflagsBits.CF, Recipe.Kind: Remaking.Step })
        {
            SaveAllButCarry();
            return;
        }
        if (!_flags.InState && !_flags.IsComplete) Remake();
        if (_flags.InState) return;
        BeginSave();
        _e.Modrm(new(0x90, Map: 1, IsByte: true), 0, Place.Register(Host.Rax));   // SETO AL
        EndSave();
        _flags = _flags with { InState = true };
    }

    /// <summary>Puts the host's flags into the state, which has the carry.</summary>
    void SaveAllButCarry()
    {
        const int carry = 0x100;   // in HostFlags
        BeginSave();
        _e.Modrm(new(0x90, Map: 1, IsByte: true), 0, Place.Register(Host.Rax));   // SETO AL
        EmitBytes(0x80, 0xE4, 0xFE);                                              // AND AH
        _e.Modrm(new(0xB7, Map: 1), Host.R14, HostFlags);                         // MOVZX
        _e.Immediate(Operation.And, Place.Register(Host.R14), carry, isWide: false);
        _e.Modrm(new(0x09), Host.R14, Place.Register(Host.Rax));                  // OR
        EndSave();
        _flags = FlagTracker.AtBoundary;
    }

    /// <summary>Sees to it that the flags are not lost with the host's.</summary>
    void GuardFlags()
    {
        if (_flags.Recipe.Kind == Remaking.None) SaveFlags();
    }

    void BeginSave()
    {
        _e.Move(Host.R15, Host.Rax);
        _e.Byte(0x9F);   // LAHF
    }

    void EndSave()
    {
        _e.Modrm(new(0x89, Prefix: 0x66), Host.Rax, HostFlags);
        _e.Move(Host.Rax, Host.R15);
    }

    /// <summary>Makes these flags of the host the guest's.</summary>
    void RestoreFlags(RflagsBits wanted = AllFlags)
    {
        if (_flags.InHost && (_flags.Wrong & wanted) == 0) return;
        if (!_flags.InState) Remake();
        if (!_flags.IsComplete) LoadFlags();
    }

    /// <summary>Makes the host's flags those of the state.</summary>
    void LoadFlags()
    {
        _e.Move(Host.R15, Host.Rax);
        _e.Modrm(new(0xB7, Map: 1), Host.Rax, HostFlags);                         // MOVZX EAX
        _e.Byte(0x04);                                                            // ADD AL, 127: overflows if AL is 1
        _e.Byte(0x7F);
        _e.Byte(0x9E);                                                            // SAHF
        _e.Move(Host.Rax, Host.R15);
        _flags = _flags with { InHost = true, Wrong = RflagsBits.None };
    }
}

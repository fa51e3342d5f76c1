namespace VmLab.X86;

/// <summary>Where the guest's arithmetic flags are at a point of a translation.</summary>
/// <param name="InHost">The host's own flags are the guest's.</param>
/// <param name="InState"><see cref="CpuState.HostFlags"/> has them.</param>
readonly record struct FlagTracker(bool InHost, bool InState)
{
    public static FlagTracker AtBoundary => new(InHost: false, InState: true);

    /// <summary>An instruction of the host has left them.</summary>
    public static FlagTracker Fresh => new(InHost: true, InState: false);

    /// <summary>The host's were used for something else.</summary>
    public FlagTracker Clobbered => this with { InHost = false };
}

// Moving flags between the host and the state. R15 is free wherever this is done.
sealed unsafe partial class Translator
{
    static Place HostFlags => Place.State(StateOffset.HostFlags);

    /// <summary>Puts the flags into the state, where whoever the code leaves to looks for them; the host's stay.</summary>
    void SaveFlags()
    {
        if (_flags.InState) return;
        BeginSave();
        _e.Modrm(new(0x90, Map: 1, IsByte: true), 0, Place.Register(Host.Rax));   // SETO AL
        EndSave();
        _flags = _flags with { InState = true };
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

    /// <summary>Makes the host's flags the guest's.</summary>
    void RestoreFlags()
    {
        if (_flags.InHost) return;
        _e.Move(Host.R15, Host.Rax);
        _e.Modrm(new(0xB7, Map: 1), Host.Rax, HostFlags);                         // MOVZX EAX
        _e.Byte(0x04);                                                            // ADD AL, 127: overflows if AL is 1
        _e.Byte(0x7F);
        _e.Byte(0x9E);                                                            // SAHF
        _e.Move(Host.Rax, Host.R15);
        _flags = _flags with { InHost = true };
    }
}

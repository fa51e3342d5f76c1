namespace VmLab.X86.Oracle;

/// <summary>Whether the host's processor has the last word on a case.</summary>
enum Expectation
{
    /// <summary>Ours must do what the host does.</summary>
    Host,

    /// <summary>The host has what we do not announce: ours must raise #UD.</summary>
    InvalidOpcode,

    /// <summary>Linux answers in the processor's place: ours must raise #GP(0), as UMIP has it.</summary>
    GeneralProtection,

    /// <summary>Whatever ours does, it is no difference; <see cref="Leeway"/> has the reason.</summary>
    Anything,
}

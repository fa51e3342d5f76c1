namespace VmLab;

/// <summary>What runs a machine's instructions. It changes no result, only how fast it comes.</summary>
public enum Engine
{
    /// <summary>The fastest that the host can run.</summary>
    Auto,

    /// <summary>Ops that stand for instructions, on any host.</summary>
    Interpreter,

    /// <summary>Code of the host, made of the guest's; the interpreter does what has no translation. Linux on x86-64.</summary>
    Translator,
}

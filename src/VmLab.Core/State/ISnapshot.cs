namespace VmLab.Core;

/// <summary>Behaviour over one record of state: what Save returns is all that it remembers.</summary>
public interface ISnapshot<TState>
    where TState : struct
{
    TState Save();

    /// <summary>
    /// Sets state silently: no line moves and no deadline fires until the machine has restored every device.
    /// </summary>
    void Restore(TState state);
}

/// <summary>A state record that knows how to become of the record of the version before.</summary>
public interface IUpgradedFrom<in TOld, out TNew>
{
    static abstract TNew From(TOld old);
}

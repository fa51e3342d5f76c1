using VmLab.Core;

namespace VmLab.Devices;

/// <summary>Interrupts of a timer that get lost.</summary>
public sealed class TickLoss : ISnapshot<TickLoss.State>
{
    /// <param name="Left">How many get lost from now on.</param>
    [Schema("tick-loss", version: 1)]
    public readonly record struct State(ulong Left);

    State _state;

    public void Lose(ulong count) => _state = new State(_state.Left + count);

    /// <summary>Whether the interrupt that is due now gets lost.</summary>
    public bool Takes()
    {
        if (_state.Left == 0) return false;
        _state = new State(_state.Left - 1);
        return true;
    }

    public State Save() => _state;

    public void Restore(State state) => _state = state;
}

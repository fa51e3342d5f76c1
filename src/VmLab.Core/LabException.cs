namespace VmLab;

/// <summary>The user's mistake, or the user's world out of order: what is wrong, where, and what to do next.</summary>
/// <param name="message">Says what, where, and what to do; it is shown to the user as it is.</param>
/// <param name="cause">What lies beneath, or <see langword="null"/>.</param>
public class LabException(string message, Exception? cause = null) : Exception(message, cause);

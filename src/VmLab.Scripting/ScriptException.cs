namespace VmLab.Scripting;

/// <summary>A script, or what it asks for, is wrong; the message says where, with the source line.</summary>
public sealed class ScriptException(string message, Exception? cause = null) : LabException(message, cause);

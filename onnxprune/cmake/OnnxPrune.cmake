# Networks compressed as part of a build.
#
#   find_program(ONNXPRUNE_EXECUTABLE onnxprune REQUIRED)
#   execute_process(COMMAND ${ONNXPRUNE_EXECUTABLE} --cmake-dir
#     OUTPUT_VARIABLE ONNXPRUNE_DIR OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
#   include(${ONNXPRUNE_DIR}/OnnxPrune.cmake)
#
#   onnxprune_add_model(NAME <target> SOURCE <file>
#     [PASSES <pass> ...] [RECIPE <file>]           one of them, or both; what is given here stands above the recipe
#     [CALIB <path>] [TEST <path>] [METRIC <module:function>] [MAX_DROP <points>] [SEED <number>]
#     [TARGET <machine> ...] [SHAPE <input>=<size>,<size>,... ...]
#     [ARGS <argument> ...]                         any other options of onnxprune
#     [EXCLUDE_FROM_ALL])                           built only where another target needs it
#
# makes a target that writes model.onnx, prune.json, report.json and a folder <machine>, with model.so and all that a run
# of it needs, into the folder <target> of the current binary directory, again whenever something that was read has
# changed: files named here and in the recipe, external data, the metric, the source of onnxprune, of passes and of
# plug-ins. A goal that is missed fails the build. Relative paths start at the current source directory.
#
#   target_link_libraries(<program> PRIVATE <target>::<machine>)    or <target>, where there is one machine
#
# lets a C++ program include onnxprune/model.h, and open the model by its path, which is defined as <target>_LIBRARY.
# The files are properties of the target:
#
#   ONNXPRUNE_MODEL, ONNXPRUNE_SPEC, ONNXPRUNE_REPORT, ONNXPRUNE_LIBRARY (the libraries, in the order of TARGET)

include_guard(GLOBAL)
cmake_minimum_required(VERSION 3.20)

find_program(ONNXPRUNE_EXECUTABLE onnxprune REQUIRED)

function(onnxprune_add_model)
  set(paths SOURCE RECIPE CALIB TEST)
  set(words METRIC MAX_DROP SEED)
  set(lists PASSES TARGET SHAPE ARGS)
  cmake_parse_arguments(PARSE_ARGV 0 arg EXCLUDE_FROM_ALL "NAME;${paths};${words}" "${lists}")
  _onnxprune_check()

  set(folder ${CMAKE_CURRENT_BINARY_DIR}/${arg_NAME})
  set(inputs)  # a function sees what its caller has set
  set(options)
  foreach(key IN LISTS paths)
    if(DEFINED arg_${key})
      get_filename_component(path "${arg_${key}}" ABSOLUTE)
      list(APPEND inputs "${path}")
      string(TOLOWER --${key}= option)
      list(APPEND options "${option}${path}")
    endif()
  endforeach()
  list(TRANSFORM options REPLACE "^--source=" "")
  foreach(key IN LISTS words)
    if(DEFINED arg_${key})
      string(TOLOWER --${key}= option)
      string(REPLACE _ - option ${option})
      list(APPEND options "${option}${arg_${key}}")
    endif()
  endforeach()
  if(DEFINED arg_PASSES)
    list(JOIN arg_PASSES , passes)
    list(APPEND options "--passes=${passes}")
  endif()
  set(machines ${arg_TARGET})
  set(libraries ${machines})
  list(TRANSFORM libraries PREPEND ${folder}/)
  set(headers ${libraries})
  list(TRANSFORM libraries APPEND /model.so)
  list(TRANSFORM headers APPEND /include/onnxprune/model.h)
  list(TRANSFORM arg_TARGET PREPEND --target=)
  list(TRANSFORM arg_SHAPE PREPEND --shape=)

  set(files ${folder}/model.onnx ${folder}/prune.json ${folder}/report.json ${libraries} ${headers})
  add_custom_command(
    OUTPUT ${files}
    COMMAND ${ONNXPRUNE_EXECUTABLE} ${options} ${arg_TARGET} ${arg_SHAPE} ${arg_ARGS}
      --output=${folder} --depfile=${folder}/model.onnx.d --quiet
    DEPENDS ${inputs}
    DEPFILE ${folder}/model.onnx.d
    WORKING_DIRECTORY ${CMAKE_CURRENT_SOURCE_DIR}
    COMMENT "Compressing ${arg_SOURCE} into ${arg_NAME}/model.onnx"
    VERBATIM)

  set(all)
  if(arg_EXCLUDE_FROM_ALL)
    set(all EXCLUDE_FROM_ALL)
  endif()
  add_library(${arg_NAME} INTERFACE ${all} ${files})
  set_target_properties(${arg_NAME} PROPERTIES
    ONNXPRUNE_MODEL ${folder}/model.onnx
    ONNXPRUNE_SPEC ${folder}/prune.json
    ONNXPRUNE_REPORT ${folder}/report.json
    ONNXPRUNE_LIBRARY "${libraries}")

  foreach(machine IN LISTS machines)
    add_library(${arg_NAME}-${machine} INTERFACE)
    add_library(${arg_NAME}::${machine} ALIAS ${arg_NAME}-${machine})
    add_dependencies(${arg_NAME}-${machine} ${arg_NAME})
    _onnxprune_link(${arg_NAME}-${machine} ${arg_NAME} ${folder}/${machine})
  endforeach()
  list(LENGTH machines count)
  if(count EQUAL 1)
    _onnxprune_link(${arg_NAME} ${arg_NAME} ${folder}/${machines})
  endif()
endfunction()

# What a program gets that is linked with the target: headers, what they need, and the path of the model.
function(_onnxprune_link target name folder)
  string(MAKE_C_IDENTIFIER ${name} word)
  target_include_directories(${target} INTERFACE ${folder}/include)
  target_link_libraries(${target} INTERFACE ${CMAKE_DL_LIBS})
  target_compile_definitions(${target} INTERFACE ${word}_LIBRARY="${folder}/model.so")
endfunction()

# Refuse, while the project is configured, what cannot be meant.
macro(_onnxprune_check)
  if(arg_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "onnxprune_add_model: unknown argument '${arg_UNPARSED_ARGUMENTS}'")
  endif()
  if(arg_KEYWORDS_MISSING_VALUES)
    message(FATAL_ERROR "onnxprune_add_model: nothing is given for ${arg_KEYWORDS_MISSING_VALUES}")
  endif()
  if(NOT DEFINED arg_NAME OR NOT DEFINED arg_SOURCE)
    message(FATAL_ERROR "onnxprune_add_model: give NAME, the target, and SOURCE, the ONNX file")
  endif()
  if(NOT DEFINED arg_PASSES AND NOT DEFINED arg_RECIPE AND NOT DEFINED arg_TARGET)
    message(FATAL_ERROR "onnxprune_add_model: there is nothing to do for ${arg_NAME}; give PASSES or a RECIPE")
  endif()
endmacro()
